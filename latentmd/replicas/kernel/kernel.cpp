// Many replicas of one small molecule on the CPU: LANES replicas in the lanes of vector registers, blocks of them on threads.
//
// A plain shared library, loaded with ctypes, so that it is tied to no version of Python. The same code is compiled for
// AVX-512, for AVX2 with FMA, and for any processor; latentmd_variants() says which of them can run here.

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <thread>
#include <vector>

namespace {

constexpr int PERIODS = 6;            // terms of a torsion's Fourier series
constexpr int MOST_STORED = 110;      // atoms up to which slopes of the Born integrals fit a core's cache
constexpr int MOST_ITERATIONS = 200;  // of SHAKE and RATTLE

struct Molecule {  // as in cpu.py, field by field
  std::int32_t n, n_bonds, n_angles, n_torsions, n_groups, n_restraints, has_born, momentum_every;
  const std::int32_t *bonds, *angles, *torsions, *torsion_terms, *constraints, *groups, *restraints;
  const float *bond, *angle, *torsion_cosine, *torsion_sine, *torsion_constant, *pairs;
  const float *offset_radius, *scaled_radius, *radius, *born_charge;
  const double *mass, *inverse_mass, *distance;
  double inverse_n, inverse_total_mass, tolerance;
  float born_factor, surface;
};

struct Block {
  double *x, *v;
  float* f;
  double *energy, *bias;
  const double* root_kT;
  const std::uint32_t *replica, *key;
  const float *targets, *stiffness;
};

enum Kind : std::int32_t { FORCES = 0, LANGEVIN = 1, VERLET = 2, CONSTRAIN = 3, DRAW = 4 };

struct Scheme {
  Kind kind;
  std::int32_t steps;
  std::uint64_t first;
  double timestep, friction;
};

#if defined(__GNUC__)
#define INLINE static inline __attribute__((always_inline))
#define NOINLINE static __attribute__((noinline))
#else
#define INLINE static inline
#define NOINLINE static
#endif

namespace portable {
#include "lanes.inc"
}

#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__)
#define DISPATCH 1
#pragma GCC push_options
#pragma GCC target("avx2,fma")
namespace avx2 {
#include "lanes.inc"
}
#pragma GCC pop_options
#pragma GCC push_options
#pragma GCC target("avx512f,avx512dq,avx512bw,avx512vl,fma,prefer-vector-width=512")
namespace avx512 {
#include "lanes.inc"
}
#pragma GCC pop_options
#endif

constexpr int WIDTH = portable::LANES;

Block part(const Molecule& m, const Block& all, int b) {
  Block out = all;
  const std::size_t vector = static_cast<std::size_t>(3) * m.n * WIDTH;
  out.x += b * vector;
  out.v += b * vector;
  out.f += b * vector;
  out.energy += b * WIDTH;
  out.bias += b * WIDTH;
  out.root_kT += b * WIDTH;
  out.replica += b * WIDTH;
  out.key += 2 * b * WIDTH;
  if (out.stiffness) {
    out.targets += static_cast<std::size_t>(2) * m.n_restraints * WIDTH * b;
    out.stiffness += b * WIDTH;
  }
  return out;
}

void work(int variant, const Molecule& m, const Block& all, int first, int step, int blocks, const Scheme& scheme) {
#ifdef DISPATCH
  if (variant == 2) {
    avx512::Workspace w(m);
    for (int b = first; b < blocks; b += step) avx512::run(m, part(m, all, b), w, scheme);
    return;
  }
  if (variant == 1) {
    avx2::Workspace w(m);
    for (int b = first; b < blocks; b += step) avx2::run(m, part(m, all, b), w, scheme);
    return;
  }
#endif
  portable::Workspace w(m);
  for (int b = first; b < blocks; b += step) portable::run(m, part(m, all, b), w, scheme);
}

}  // namespace

extern "C" {

// Bit v is set where variant v can run: 0 portable, 1 AVX2, 2 AVX-512.
std::int32_t latentmd_variants() {
  std::int32_t found = 1;
#ifdef DISPATCH
  __builtin_cpu_init();
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) found |= 2;
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512bw") &&
      __builtin_cpu_supports("avx512vl"))
    found |= 4;
#endif
  return found;
}

std::int32_t latentmd_lanes() { return WIDTH; }

std::int32_t latentmd_periods() { return PERIODS; }

void latentmd_run(std::int32_t variant, std::int32_t threads, const Molecule* m, const Block* all, std::int32_t blocks,
                  std::int32_t kind, std::int32_t steps, std::uint64_t first, double timestep, double friction) {
  const Scheme scheme{static_cast<Kind>(kind), steps, first, timestep, friction};
  const int count = threads < blocks ? threads : blocks;
  if (count <= 1) {
    work(variant, *m, *all, 0, 1, blocks, scheme);
    return;
  }
  std::vector<std::thread> pool;
  for (int t = 1; t < count; ++t) pool.emplace_back(work, variant, std::cref(*m), std::cref(*all), t, count, blocks, scheme);
  work(variant, *m, *all, 0, count, blocks, scheme);
  for (auto& thread : pool) thread.join();
}
}
