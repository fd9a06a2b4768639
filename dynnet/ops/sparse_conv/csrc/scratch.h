// Aligned, uninitialised memory that frees itself.
#pragma once
#include <cstdint>
#include <cstdlib>
#include <new>

namespace dynnet {

struct Scratch {
  float* data;
  explicit Scratch(int64_t floats) {
    const size_t bytes = (size_t(floats < 1 ? 1 : floats) * 4 + 63) / 64 * 64;
    data = static_cast<float*>(std::aligned_alloc(64, bytes));
    if (!data) throw std::bad_alloc();
  }
  ~Scratch() { std::free(data); }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;
};

}  // namespace dynnet
