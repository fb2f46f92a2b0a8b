// What a package's weights cost in libtorch: time, memory, and whether windows show.
//
//     measure weights.pt CHANNELS SIDE [SEED]
//
// Runs an image of noise of SIDE x SIDE pixels once. Prints seconds, the process's largest resident memory, and the
// largest step between neighbouring pixels of the result across the borders of the graph's windows and elsewhere.

#include <sys/resource.h>
#include <torch/script.h>
#include <torch/version.h>

#include <chrono>
#include <iostream>
#include <string>

namespace {

constexpr int64_t kWindow = 512;  // cosdd_zoo.export.export.INNER_PX

// The largest |y[i] - y[i - 1]| along an axis, over the borders of windows, and over all else: {borders, elsewhere}.
std::pair<double, double> steps(const torch::Tensor& y, int64_t axis) {
  double border = 0.0, elsewhere = 0.0;
  for (int64_t i = 1; i < y.size(axis); ++i) {
    const double step = (y.select(axis, i) - y.select(axis, i - 1)).abs().max().item<double>();
    double& largest = i % kWindow == 0 ? border : elsewhere;
    largest = std::max(largest, step);
  }
  return {border, elsewhere};
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 4) {
    std::cerr << "usage: measure weights.pt CHANNELS SIDE [SEED]\n";
    return 2;
  }
  const int64_t channels = std::stoll(argv[2]), side = std::stoll(argv[3]);
  torch::manual_seed(argc > 4 ? std::stoll(argv[4]) : 0);
  torch::NoGradGuard no_grad;
  torch::jit::Module module = torch::jit::load(argv[1], torch::kCPU);
  module.eval();
  const torch::Tensor x = torch::randn({1, channels, side, side}).mul_(20).add_(100);
  const auto begin = std::chrono::steady_clock::now();
  const torch::Tensor y = module.forward({x}).toTensor();
  const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  rusage used;
  getrusage(RUSAGE_SELF, &used);
  std::cout << "libtorch " << TORCH_VERSION << "\nseconds " << seconds << "\nlargest resident GB "
            << used.ru_maxrss / 1048576.0 << '\n';
  for (int64_t axis : {2, 3}) {
    const auto [border, elsewhere] = steps(y, axis);
    std::cout << "largest step along " << (axis == 2 ? 'y' : 'x') << ": " << border << " across windows, " << elsewhere
              << " elsewhere\n";
  }
  return 0;
}
