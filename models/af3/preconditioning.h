// The factors around a denoiser at one noise level (Karras et al., "Elucidating the design space of
// diffusion-based generative models", 2022, table 1, as AlphaFold 3's algorithm 20 uses them). Called by the
// example, which trains under them, and by the sampler.
#pragma once

#include <cmath>

namespace reckon::models::af3 {

struct Preconditioning {
  double in, skip, out;  // of the network's input, of what passes it by, and of its output
  double noise;          // what the network is told about the level
  double loss_weight;

  Preconditioning(double sigma, double sigma_data) {
    const double both = sigma * sigma + sigma_data * sigma_data;
    in = 1 / std::sqrt(both);
    skip = sigma_data * sigma_data / both;
    out = sigma * sigma_data / std::sqrt(both);
    noise = 0.25 * std::log(sigma / sigma_data);
    loss_weight = both / (sigma * sigma_data * sigma * sigma_data);
  }
};

}  // namespace reckon::models::af3
