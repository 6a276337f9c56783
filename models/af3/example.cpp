#include "models/af3/example.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "models/af3/preconditioning.h"
#include "runtime/core/rng.h"

namespace reckon::models::af3 {
namespace {

using Vec = std::array<double, 3>;

constexpr double kTurn = 6.283185307179586;  // in radians

Vec operator+(const Vec& a, const Vec& b) { return {a[0] + b[0], a[1] + b[1], a[2] + b[2]}; }
Vec operator-(const Vec& a, const Vec& b) { return {a[0] - b[0], a[1] - b[1], a[2] - b[2]}; }
Vec operator*(double s, const Vec& a) { return {s * a[0], s * a[1], s * a[2]}; }
double dot(const Vec& a, const Vec& b) { return a[0] * b[0] + a[1] * b[1] + a[2] * b[2]; }
double length(const Vec& a) { return std::sqrt(dot(a, a)); }
Vec cross(const Vec& a, const Vec& b) {
  return {a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]};
}

class Random {
 public:
  Random(uint64_t seed, uint64_t stream) : philox_{seed, stream} {}
  double uniform() { return (static_cast<double>(philox_(next_++)[0]) + 0.5) / 4294967296.0; }
  int64_t below(int64_t n) { return std::min(n - 1, static_cast<int64_t>(uniform() * static_cast<double>(n))); }
  double normal() {
    const double r = std::sqrt(-2.0 * std::log(uniform()));
    return r * std::cos(kTurn * uniform());
  }
  Vec vector() { return {normal(), normal(), normal()}; }

 private:
  Philox philox_;
  uint64_t next_ = 0;
};

constexpr double kNear = 15.0;         // Angstrom: lDDT looks at pairs within
constexpr int64_t kResidueTypes = 20;  // of the made-up chain

// One atom in 41 was not seen in the made-up experiment: the confidence head learns to say which.
bool unresolved(size_t atom) { return atom % 41 == 40; }

// Angle and torsion of a bond, and the places of a residue's atoms, follow from the residue's type.
struct Residue {
  double angle, torsion;
  explicit Residue(int64_t type) {
    Random r(7, static_cast<uint64_t>(type));
    angle = 1.4 + 0.8 * r.uniform();
    torsion = kTurn * r.uniform();
  }
  static Vec atom(int64_t type, int64_t k) {
    if (k == 0) return {0, 0, 0};
    Random r(11, static_cast<uint64_t>(type * 64 + k));
    return 1.2 * r.vector();
  }
};

constexpr double kShortest = 1e-6;  // of a vector that still has a direction

struct Chain {
  std::vector<int64_t> types;
  std::vector<Vec> centres, atoms, local;  // local: an atom's place in its residue's frame
};

Chain make_chain(int64_t n, int64_t atoms_per_token, Random& random) {
  Chain c;
  for (int64_t i = 0; i < n; ++i) c.types.push_back(random.below(kResidueTypes));
  constexpr double kBond = 3.8;  // angstrom between alpha carbons of neighbours
  std::vector<Vec> x{{0, 0, 0}, {kBond, 0, 0}, {kBond * 1.5, 3.3, 0}};
  while (static_cast<int64_t>(x.size()) < n) {
    const Residue r(c.types[x.size()]);
    const size_t k = x.size();
    Vec along = x[k - 1] - x[k - 2];
    along = (1.0 / length(along)) * along;
    Vec normal = cross(x[k - 2] - x[k - 3], along);
    normal = (1.0 / std::max(kShortest, length(normal))) * normal;
    const Vec side = cross(normal, along);
    x.push_back(x[k - 1] +
                kBond * (-std::cos(r.angle) * along +
                         std::sin(r.angle) * (std::cos(r.torsion) * side + std::sin(r.torsion) * normal)));
  }
  x.resize(static_cast<size_t>(n));
  Vec middle{0, 0, 0};
  for (const Vec& v : x) middle = middle + (1.0 / static_cast<double>(n)) * v;
  for (Vec& v : x) v = v - middle;
  c.centres = x;
  for (size_t i = 0; i < x.size(); ++i) {
    Vec e1 = i + 1 < x.size() ? x[i + 1] - x[i] : x[i] - x[i - 1];
    e1 = (1.0 / length(e1)) * e1;
    Vec e2 = i > 0 ? x[i] - x[i - 1] : x[1] - x[2];
    e2 = e2 - dot(e1, e2) * e1;
    e2 = length(e2) > kShortest ? (1.0 / length(e2)) * e2 : Vec{0, 0, 1};
    const Vec e3 = cross(e1, e2);
    for (int64_t k = 0; k < atoms_per_token; ++k) {
      const Vec p = Residue::atom(c.types[i], k);
      c.local.push_back(p);
      c.atoms.push_back(x[i] + p[0] * e1 + p[1] * e2 + p[2] * e3);
    }
  }
  return c;
}

// A uniformly random rotation, from a quaternion.
std::array<Vec, 3> rotation(Random& r) {
  double q[4], n = 0;
  for (double& v : q) v = r.normal(), n += v * v;
  for (double& v : q) v /= std::sqrt(n);
  const double w = q[0], x = q[1], y = q[2], z = q[3];
  return {Vec{1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)},
          Vec{2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)},
          Vec{2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)}};
}

int64_t bin_of(double value, double low, double high, int64_t bins) {
  return std::clamp(static_cast<int64_t>((value - low) / (high - low) * static_cast<double>(bins)), int64_t{0},
                    bins - 1);
}

// Fills a host buffer of the tensor's size and uploads it; without values, uploads zeros.
class Uploader {
 public:
  Uploader(Device& device, bool with_values) : device_(device), with_values_(with_values) {}

  template <class T, class Fill>
  Tensor operator()(const char* label, DType type, const Shape& shape, Fill fill) {
    std::vector<T> host(with_values_ || device_.executes() ? static_cast<size_t>(numel(shape)) : 0);
    if (with_values_) fill(host);
    return Tensor::from_host(device_, shape, type, host.data(), static_cast<size_t>(numel(shape)) * sizeof(T),
                             Category::input, label);
  }
  template <class Fill>
  Tensor floats(const char* label, const Shape& shape, Fill fill) {
    return operator()<float>(label, DType::f32, shape, fill);
  }
  template <class Fill>
  Tensor ids(const char* label, const Shape& shape, Fill fill) {
    return operator()<int64_t>(label, DType::i64, shape, fill);
  }

 private:
  Device& device_;
  bool with_values_;
};

using Floats = std::vector<float>;
using Ids = std::vector<int64_t>;

float f(double v) { return static_cast<float>(v); }

// What the pair track reads of two tokens.
void upload_tokens(Example& e, const Config& c, const StepOptions& o, const Chain& chain, Random& random,
                   Uploader& up) {
  const int64_t N = o.tokens, S = o.msa_rows, pairs = N * N;
  const auto each_pair = [N](auto&& fn) {
    for (int64_t i = 0; i < N; ++i)
      for (int64_t j = 0; j < N; ++j) fn(i, j, static_cast<size_t>(i * N + j));
  };
  const auto distance = [&](int64_t i, int64_t j) {
    return length(chain.centres[static_cast<size_t>(i)] - chain.centres[static_cast<size_t>(j)]);
  };
  e.molecules = up.ids("molecules", {1, N}, [&](Ids& v) { v = chain.types; });
  e.msa = up.ids("msa", {1, S, N}, [&](Ids& v) {
    for (int64_t s = 0; s < S; ++s)
      for (int64_t i = 0; i < N; ++i)
        v[static_cast<size_t>(s * N + i)] = s == 0 || random.uniform() > 0.15
                                                ? chain.types[static_cast<size_t>(i)]
                                                : random.below(std::min<int64_t>(22, c.msa_symbols));
  });
  e.msa_extra = up.floats("msa_extra", {1, S, N, c.msa_extra}, [&](Floats& v) {
    for (float& x : v) x = random.uniform() < 0.05 ? f(random.uniform()) : 0.0f;
  });
  e.token_features = up.floats("token_features", {1, N, c.token_extra}, [&](Floats& v) {
    for (int64_t i = 0; i < N; ++i)
      v[static_cast<size_t>(i * c.token_extra + chain.types[static_cast<size_t>(i)] % c.token_extra)] = 0.85f;
  });
  e.modified = up.floats("modified", {1, N, c.modifications}, [](Floats&) {});
  const int64_t reach = c.position_reach;
  const auto offsets = [&](Ids& v, bool token) {
    // One residue is one token: other residues' token offsets are out of reach.
    each_pair([&](int64_t i, int64_t j, size_t k) {
      v[k] = token && i != j ? 2 * reach + 1 : std::clamp(i - j + reach, int64_t{0}, 2 * reach);
    });
  };
  e.offset_residue = up.ids("offset_residue", {1, N, N}, [&](Ids& v) { offsets(v, false); });
  e.offset_token = up.ids("offset_token", {1, N, N}, [&](Ids& v) { offsets(v, true); });
  e.offset_chain =
      up.ids("offset_chain", {1, N, N}, [&](Ids& v) { std::fill(v.begin(), v.end(), c.chain_reach); });
  e.same_entity =
      up.floats("same_entity", {1, N, N, 1}, [](Floats& v) { std::fill(v.begin(), v.end(), 1.0f); });
  e.bonds = up.floats("bonds", {1, N, N, 1}, [&](Floats& v) {
    each_pair([&](int64_t i, int64_t j, size_t k) { v[k] = std::abs(i - j) == 1 ? 1.0f : 0.0f; });
  });
  // A tenth of the constraints is given: a pocket of token 0, contacts, and distance classes of docking.
  std::array<bool, 3> given{};
  for (bool& g : given) g = random.uniform() < 0.1;
  e.constraints = up.floats("constraints", {1, N, N, 6}, [&](Floats& v) {
    each_pair([&](int64_t i, int64_t j, size_t k) {
      const double d = distance(i, j);
      if (given[0]) v[k * 6] = (i == 0 || j == 0) && d < 10 ? 1.0f : 0.0f;
      if (given[1]) v[k * 6 + 1] = d < 8 ? 1.0f : 0.0f;
      if (given[2]) v[k * 6 + 2 + static_cast<size_t>(bin_of(d, 0, 40, 4))] = 1.0f;
    });
  });
  e.constraint_unknown = up.floats("constraint_unknown", {1, N, N, 3}, [&](Floats& v) {
    for (size_t k = 0; k < v.size(); ++k) v[k] = given[k % 3] ? 0.0f : 1.0f;
  });
  if (o.templates > 0) {
    const int64_t F = c.template_features, bins = F - 4;
    e.templates = up.floats("templates", {o.templates, N, N, F}, [&](Floats& v) {
      for (int64_t t = 0; t < o.templates; ++t)
        each_pair([&](int64_t i, int64_t j, size_t k) {
          float* at = v.data() + (static_cast<size_t>(t * pairs) + k) * static_cast<size_t>(F);
          const Vec apart = chain.centres[static_cast<size_t>(j)] - chain.centres[static_cast<size_t>(i)];
          const double d = length(apart) + random.normal();
          at[bin_of(d, 2, 50, bins)] = 1.0f;
          for (int64_t a = 0; a < 3; ++a)
            at[bins + a] = f(apart[static_cast<size_t>(a)] / (1.0 + length(apart)));
          at[bins + 3] = 1.0f;
        });
    });
  }
  e.distance_bin = up.ids("distance_bin", {pairs}, [&](Ids& v) {
    each_pair([&](int64_t i, int64_t j, size_t k) {
      v[k] = bin_of(distance(i, j), 2.3125, 21.6875, c.distance_bins);
    });
  });
}

void upload_atoms(Example& e, const Config& c, const StepOptions& o, const Chain& chain, Uploader& up) {
  const int64_t a = o.atoms_per_token, A = o.atoms(), N = o.tokens, W = o.windows(c), w = c.window;
  const auto token_of = [&](int64_t atom) { return std::min(atom, A - 1) / a; };
  // Calls fn(window, query atom, key atom or -1, index).
  const auto each_window_pair = [&](auto&& fn) {
    for (int64_t i = 0; i < W; ++i)
      for (int64_t q = 0; q < w; ++q)
        for (int64_t k = 0; k < 2 * w; ++k) {
          const int64_t query = i * w + q, key = (i - 1) * w + k;
          fn(query < A ? query : -1, key >= 0 && key < A ? key : -1,
             static_cast<size_t>((i * w + q) * 2 * w + k));
        }
  };
  e.windows.size = w;
  const auto keys = [&](Floats& v, bool hidden) {
    for (int64_t i = 0; i < W; ++i)
      for (int64_t k = 0; k < 2 * w; ++k) {
        const int64_t key = (i - 1) * w + k;
        v[static_cast<size_t>(i * 2 * w + k)] = (key < 0 || key >= A) == hidden ? 1.0f : 0.0f;
      }
  };
  e.windows.hidden = up.floats("hidden_keys", {1, W, 2 * w}, [&](Floats& v) { keys(v, true); });
  e.windows.visible = up.floats("visible_keys", {1, W, 2 * w}, [&](Floats& v) { keys(v, false); });
  e.atom_features = up.floats("atom_features", {1, A, c.atom_features}, [&](Floats& v) {
    for (size_t k = 0; k < v.size(); ++k) {
      const size_t axis = k % static_cast<size_t>(c.atom_features);
      v[k] = axis < 3 ? f(chain.local[k / static_cast<size_t>(c.atom_features)][axis]) : 0.0f;
    }
  });
  e.atompair_features = up.floats("atompair_features", {1, W, w, 2 * w, c.atompair_features}, [&](Floats& v) {
    each_window_pair([&](int64_t q, int64_t k, size_t at) {
      if (q < 0 || k < 0 || token_of(q) != token_of(k)) return;
      const Vec d = chain.local[static_cast<size_t>(q)] - chain.local[static_cast<size_t>(k)];
      const double values[5] = {d[0], d[1], d[2], 1.0 / (1.0 + dot(d, d)), 1.0};
      for (int64_t i = 0; i < std::min<int64_t>(5, c.atompair_features); ++i)
        v[at * static_cast<size_t>(c.atompair_features) + static_cast<size_t>(i)] = f(values[i]);
    });
  });
  e.atom_types = up.ids("atom_types", {1, A}, [&](Ids& v) {
    for (int64_t i = 0; i < A; ++i)
      v[static_cast<size_t>(i)] = (chain.types[static_cast<size_t>(token_of(i))] + 3 * (i % a)) % c.atom_types;
  });
  e.atompair_types = up.ids("atompair_types", {1, W, w, 2 * w}, [&](Ids& v) {
    each_window_pair([&](int64_t q, int64_t k, size_t at) {
      v[at] =
          q >= 0 && k >= 0 && token_of(q) == token_of(k) ? std::min(std::abs(q - k), c.atompair_types - 1) : 0;
    });
  });
  e.window_pairs = up.ids("window_pairs", {W, w, 2 * w}, [&](Ids& v) {
    each_window_pair([&](int64_t q, int64_t k, size_t at) {
      v[at] = token_of(q < 0 ? A - 1 : q) * N + token_of(k < 0 ? 0 : k);
    });
  });
  e.missing = up.floats("missing", {1, A, 1}, [&](Floats& v) {
    for (size_t i = 0; i < v.size(); ++i) v[i] = unresolved(i) ? 1.0f : 0.0f;
  });
  e.resolved = up.ids("resolved", {A}, [&](Ids& v) {
    for (size_t i = 0; i < v.size(); ++i) v[i] = unresolved(i) ? 0 : 1;
  });
  // The last token stands for a ligand; its affinity follows from its type.
  e.ligand = up.floats("ligand", {1, A, 1}, [&](Floats& v) {
    for (int64_t i = A - a; i < A; ++i) v[static_cast<size_t>(i)] = 1.0f;
  });
  e.affinity = up.floats("affinity", {1, 1},
                         [&](Floats& v) { v[0] = f(0.1 * static_cast<double>(chain.types.back()) - 1.0); });
}

void upload_structure(Example& e, const Config& c, const StepOptions& o, const Chain& chain, Random& random,
                      Uploader& up) {
  const int64_t A = o.atoms(), N = o.tokens, D = o.augmentations;
  // Both read the same turned copies.
  std::vector<Vec> turned;
  std::vector<double> sigmas;
  e.truth = up.floats("truth", {D, A, 3}, [&](Floats& v) {
    for (int64_t d = 0; d < D; ++d) {
      const auto turn = rotation(random);
      const Vec shift = random.vector();
      sigmas.push_back(c.sigma_data * std::exp(c.noise_mean + c.noise_spread * random.normal()));
      for (const Vec& x : chain.atoms)
        turned.push_back(Vec{dot(turn[0], x), dot(turn[1], x), dot(turn[2], x)} + shift);
    }
    for (size_t i = 0; i < v.size(); ++i) v[i] = f(turned[i / 3][i % 3]);
  });
  e.noised = up.floats("noised", {D, A, 3}, [&](Floats& v) {
    for (size_t i = 0; i < v.size(); ++i)
      v[i] = f(turned[i / 3][i % 3] + sigmas[i / static_cast<size_t>(3 * A)] * random.normal());
  });
  e.noise = up.floats("noise", {D, 1, 5}, [&](Floats& v) {
    for (size_t d = 0; d < sigmas.size(); ++d) {
      const Preconditioning p(sigmas[d], c.sigma_data);
      const double values[5] = {p.in, p.skip, p.out, p.noise, p.loss_weight};
      for (size_t i = 0; i < 5; ++i) v[d * 5 + i] = f(values[i]);
    }
  });
  if (o.rollout)
    e.rollout_noise = up.floats("rollout_noise", {c.rollout_steps + 1, A, 3}, [&](Floats& v) {
      for (float& x : v) x = f(random.normal());
    });
  double near_pairs = 1;
  e.far_atoms = up.operator()<uint8_t>("far_atoms", DType::u8, {1, A, A}, [&](std::vector<uint8_t>& v) {
    int64_t near = 0;
    for (int64_t i = 0; i < A; ++i)
      for (int64_t j = 0; j < A; ++j) {
        const bool counts =
            i != j && length(chain.atoms[static_cast<size_t>(i)] - chain.atoms[static_cast<size_t>(j)]) < kNear;
        v[static_cast<size_t>(i * A + j)] = counts ? 0 : 1;
        near += counts;
      }
    near_pairs = static_cast<double>(std::max<int64_t>(1, near));
  });
  e.lddt_share = up.floats("lddt_share", {}, [&](Floats& v) { v[0] = f(1.0 / near_pairs); });
  e.lddt_limits = up.floats("lddt_limits", {4}, [](Floats& v) { v = {0.5f, 1.0f, 2.0f, 4.0f}; });
  std::vector<float> share(static_cast<size_t>(A), 1.0f);
  e.far_tokens = up.floats("far_tokens", {1, A, N}, [&](Floats& v) {
    for (int64_t i = 0; i < A; ++i) {
      int64_t near = 0;
      for (int64_t j = 0; j < N; ++j) {
        const bool counts = i / o.atoms_per_token != j && length(chain.atoms[static_cast<size_t>(i)] -
                                                                 chain.centres[static_cast<size_t>(j)]) < kNear;
        v[static_cast<size_t>(i * N + j)] = counts ? 0.0f : 1.0f;
        near += counts;
      }
      share[static_cast<size_t>(i)] = f(1.0 / static_cast<double>(std::max<int64_t>(1, near)));
    }
  });
  e.near_share = up.floats("near_share", {1, A}, [&](Floats& v) { v = share; });
}

}  // namespace

Example make_example(Device& device, const Config& c, const StepOptions& o, uint64_t seed, uint64_t number,
                     bool with_values) {
  Random random(seed, stream_of(StreamUse::examples, number));
  Chain chain;
  if (with_values) chain = make_chain(o.tokens, o.atoms_per_token, random);
  Uploader up(device, with_values);
  Example e;
  upload_tokens(e, c, o, chain, random, up);
  upload_atoms(e, c, o, chain, up);
  upload_structure(e, c, o, chain, random, up);
  return e;
}

}  // namespace reckon::models::af3
