// Runs a package's weights in libtorch, without Python, and compares with the package's own test output:
// the runtime of deepImageJ and QuPath, and the oldest one that packages promise to run in.
//
//     run_package weights.pt test_input.npy test_output.npy
//
// Prints the largest absolute difference, the same relative to the largest |expected|, and how many values are beyond
// what the BioImage Model Zoo allows: |found - expected| <= 1.5e-4 + 1e-4 |expected|. Exits with 0 when none is, with 1
// when some are, and with 2 when there was nothing to compare.

#include <torch/script.h>
#include <torch/version.h>

#include <cstdint>
#include <fstream>
#include <iostream>
#include <regex>
#include <stdexcept>
#include <string>
#include <vector>

namespace {

constexpr double kAbsolute = 1.5e-4, kRelative = 1e-4;

// The length field of an NPY header, little-endian: 2 bytes in version 1, 4 bytes later.
size_t header_length(std::ifstream& file, int major) {
  unsigned char bytes[4] = {0, 0, 0, 0};
  file.read(reinterpret_cast<char*>(bytes), major == 1 ? 2 : 4);
  return bytes[0] | bytes[1] << 8 | bytes[2] << 16 | static_cast<size_t>(bytes[3]) << 24;
}

std::string read_header(std::ifstream& file, const std::string& path) {
  char magic[8];
  file.read(magic, sizeof magic);
  if (!file || std::string(magic, 6) != "\x93NUMPY") throw std::runtime_error(path + " is no .npy file");
  std::string header(header_length(file, magic[6]), ' ');
  file.read(&header[0], static_cast<std::streamsize>(header.size()));
  if (!file) throw std::runtime_error(path + " ends within its header");
  return header;
}

std::vector<int64_t> shape_of(const std::string& header) {
  std::smatch tuple;
  std::regex_search(header, tuple, std::regex(R"('shape':\s*\(([^)]*)\))"));
  const std::string numbers = tuple[1];
  std::vector<int64_t> shape;
  const std::regex number(R"(\d+)");
  for (std::sregex_iterator it(numbers.begin(), numbers.end(), number), end; it != end; ++it)
    shape.push_back(std::stoll(it->str()));
  return shape;
}

// A little-endian float32 array in C order, which is what packages hold.
torch::Tensor read_npy(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw std::runtime_error(path + " cannot be opened");
  const std::string header = read_header(file, path);
  if (header.find("'<f4'") == std::string::npos || header.find("'fortran_order': False") == std::string::npos)
    throw std::runtime_error(path + " is not float32 in C order: " + header);
  torch::Tensor array = torch::empty(shape_of(header), torch::kFloat32);
  file.read(reinterpret_cast<char*>(array.data_ptr<float>()), array.numel() * sizeof(float));
  if (!file) throw std::runtime_error(path + " ends before its last number");
  return array;
}

torch::Tensor run(const std::string& weights, const torch::Tensor& input) {
  torch::NoGradGuard no_grad;
  torch::jit::Module module = torch::jit::load(weights, torch::kCPU);
  module.eval();
  return module.forward({input}).toTensor();
}

int compare(const torch::Tensor& found, const torch::Tensor& expected) {
  if (found.sizes() != expected.sizes()) {
    std::cerr << "shape " << found.sizes() << " instead of " << expected.sizes() << '\n';
    return 1;
  }
  const torch::Tensor apart = (found - expected).abs();
  const double absolute = apart.max().item<double>();
  const double relative = absolute / expected.abs().max().item<double>();
  const torch::Tensor allowed = expected.abs() * kRelative + kAbsolute;
  const int64_t beyond = (apart <= allowed).logical_not().sum().item<int64_t>();  // a NaN is beyond
  std::cout << "libtorch " << TORCH_VERSION << "\nlargest absolute difference " << absolute
            << "\nlargest relative difference " << relative << "\nvalues beyond the zoo's bound " << beyond << '\n';
  return beyond == 0 ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4) {
    std::cerr << "usage: run_package weights.pt test_input.npy test_output.npy\n";
    return 2;
  }
  try {
    return compare(run(argv[1], read_npy(argv[2])), read_npy(argv[3]));
  } catch (const std::exception& error) {
    std::cerr << error.what() << '\n';
    return 2;
  }
}
