// One made-up training example: a chain whose bond directions follow from its sequence, so that structure can
// be learned from sequence, an alignment of mutated copies, and templates that are noisy copies of the
// distances. Made on the host from (seed, number) alone.
// Shape letters: N tokens, A atoms, S rows, T templates, D copies, W windows.
#pragma once

#include <cstdint>
#include <vector>

#include "models/af3/conditioned.h"
#include "runtime/tensor.h"

namespace reckon::models::af3 {

struct Example {
  Windows windows;
  Tensor atom_features;                               // f32 [1, A, 3]
  Tensor atompair_features;                           // f32 [1, W, w, 2w, 5]
  Tensor atom_types;                                  // i64 [1, A]
  Tensor atompair_types;                              // i64 [1, W, w, 2w]
  Tensor molecules;                                   // i64 [1, N]: residue type
  Tensor token_features;                              // f32 [1, N, 33]: profile and mean deletion
  Tensor modified;                                    // f32 [1, N, 4]
  Tensor offset_residue, offset_token, offset_chain;  // i64 [1, N, N]: clipped offsets
  Tensor same_entity;                                 // f32 [1, N, N, 1]
  Tensor bonds;                                       // f32 [1, N, N, 1]
  Tensor constraints;                                 // f32 [1, N, N, 6]: pocket, contact, 4 of docking
  Tensor constraint_unknown;                          // f32 [1, N, N, 3]
  Tensor msa;                                         // i64 [1, S, N]
  Tensor msa_extra;                                   // f32 [1, S, N, 2]
  Tensor templates;                                   // f32 [T, N, N, 108]; undefined without templates
  Tensor window_pairs;  // i64 [W, w, 2w]: row * N + column of the tokens of an atom pair
  Tensor missing;       // f32 [1, A, 1]
  // Diffusion: copies turned, shifted and noised.
  Tensor truth, noised;  // f32 [D, A, 3]
  Tensor noise;          // f32 [D, 1, 5]: c_in, c_skip, c_out, log(sigma / sigma_data) / 4, loss weight
  Tensor rollout_noise;  // f32 [steps + 1, A, 3]; undefined without rollout
  // Labels.
  Tensor distance_bin;  // i64 [N * N]
  Tensor far_atoms;     // u8 [1, A, A]: pairs that lDDT leaves out
  Tensor lddt_share;    // f32 []: 1 / number of the others
  Tensor lddt_limits;   // f32 [4]: 0.5, 1, 2, 4
  Tensor far_tokens;    // f32 [1, A, N]: 1 for pairs that the lDDT of an atom leaves out
  Tensor near_share;    // f32 [1, A]: 1 / number of the others
  Tensor resolved;      // i64 [A]
  Tensor affinity;      // f32 [1, 1]
  Tensor ligand;        // f32 [1, A, 1]: atoms whose affinity is predicted
};

// Example `number` of the stream; with_values false: zeros of the same shapes (dry runs).
Example make_example(Device& device, const Config& config, const StepOptions& step, uint64_t seed,
                     uint64_t number, bool with_values);

}  // namespace reckon::models::af3
