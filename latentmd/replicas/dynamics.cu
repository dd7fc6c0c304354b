// Langevin dynamics of many replicas of small molecules: one thread block per replica, all of its state in shared memory.
//
// The same source is a CUDA kernel (nvcc, NVRTC) and ordinary C++, where the threads of a block take turns inside each
// phase: tests run it without a GPU, and a phase in which two threads touch the same word gives another result when
// the turns are taken in another order.
//
// Energy: harmonic bonds and angles, periodic torsions, Lennard-Jones and Coulomb without a cutoff, OBC2 implicit solvent
// (Onufriev, Bashford & Case, Proteins 55, 383, 2004) with the ACE surface term. Dynamics: the LangevinMiddle splitting
// (Zhang et al., J. Phys. Chem. A 123, 6056, 2019) with SHAKE and RATTLE on bonds to hydrogen. Noise: Philox4x32-10
// (Salmon et al., SC 2011). Units: nm, ps, kJ/mol, amu.

#ifdef __CUDACC__
#define DEVICE static __device__ __forceinline__
#define ENTRY extern "C" __global__ void
#define PHASE { const int tid = threadIdx.x;
#define END_PHASE } __syncthreads();
#define THREADS int(blockDim.x)
#define ATOMIC_ADD(word, value) atomicAdd(word, value)
#else
#include <cmath>
#include <cstring>
#define DEVICE static inline
#define ENTRY static void
#define PHASE for (int turn_ = 0; turn_ < emulated.threads; ++turn_) { \
    const int tid = emulated.reverse ? emulated.threads - 1 - turn_ : turn_;
#define END_PHASE }
#define THREADS emulated.threads
#define ATOMIC_ADD(word, value) (*(word) += (value))
struct float2 { float x, y; };
struct float4 { float x, y, z, w; };
struct int4 { int x, y, z, w; };
static inline float2 make_float2(float x, float y) { return {x, y}; }
static inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }
static inline float rsqrtf(float x) { return 1.0f / sqrtf(x); }
static inline float cospif(float x) { return cosf(3.14159265f * x); }
static inline float sinpif(float x) { return sinf(3.14159265f * x); }
static inline int __float2int_rn(float x) { return int(lrintf(x)); }
struct Emulated { int block, threads, reverse; char* shared; };
static thread_local Emulated emulated;
#endif

// Functions of the pair loops. The hardware's are off by some units in the last place, its logarithm by 4e-7 near 1, which
// the sums hide.
#ifdef __CUDACC__
#define RECIPROCAL(x) __fdividef(1.0f, x)
#define EXP(x) __expf(x)
#define LOG(x) __logf(x)
#else
#define RECIPROCAL(x) (1.0f / (x))
#define EXP(x) expf(x)
#define LOG(x) logf(x)
#endif

typedef unsigned int word;

// Contributions of bonded terms are summed as integers, so that the order of the threads does not matter.
#define FORCE_SCALE 8192.0f  // 1/(kJ/mol/nm): steps of 1.2e-4, sums up to 2.6e5
#define FORCE_LIMIT 60000.0f  // kJ/mol/nm: larger single contributions are cut here

#define SHAKE_TOLERANCE 4e-6f  // of the squared distance
#define SHAKE_ROUNDS 25
#define RATTLE_TOLERANCE 2e-6f  // of the relative velocity along a bond, nm/ps per nm
#define RATTLE_ROUNDS 25

struct Molecule {  // where a molecule's tables begin; one record of 16 words
    int atoms;
    int atom;         // first row of `atom_table`, and of `mask` (times MASK_WORDS)
    int bonds, bond;  // count and first row in `pair_table`
    int angles, angle;
    int torsions, torsion, coefficient;
    int exceptions, exception;
    int clusters, cluster;
    int born;           // 1 with implicit solvent
    int surface;        // 4 pi times the surface tension, kJ/mol/nm^2, as bits of a float
    int unused;
};

#define MASK_WORDS 8  // 256 atoms

struct Tables {
    const Molecule* molecules;
    const float4* atom_a;     // charge * sqrt(k_e), sigma / 2, 2 sqrt(epsilon), Born charge * sqrt(k_e (1/in - 1/out))
    const float4* atom_b;     // radius - offset, scale * (radius - offset), radius, 1 / mass
    const word* mask;         // bit j of row i: the pair (i, j) has no Lennard-Jones or Coulomb term
    const float4* bond;       // packed atoms (bits), length, force constant, -
    const float4* angle;      // packed atoms, angle, force constant, -
    const int4* torsion;      // packed atoms, first coefficient, number of coefficients, -
    const float4* coefficient;  // periodicity, k cos(phase), k sin(phase), k
    const float4* exception;  // packed atoms, charge product * k_e, sigma, 4 epsilon
    const int4* cluster;      // packed atoms (centre, first three hydrogens), fourth hydrogen | count << 8, -, -
    const float4* distance;   // constrained distances of a cluster
};

struct State {
    const int* molecule;       // of each replica
    const long long* offset;   // first atom of each replica in `position`, `velocity`, `force`
    float* position;           // (atoms of all replicas, 3)
    float* velocity;
    float* force;              // written when not null
    float* energy;             // (replicas, 2): potential, kinetic
    const float* kT;           // of each replica
    const unsigned long long* seed;   // of each replica
    unsigned long long* step;  // steps done by each replica
    const int* order;          // replica of each block
    short* frames;             // (frames, atoms of all replicas, 3), pm; may be null
    float* frame_energy;       // (frames, replicas); may be null
    long long frame_atoms;     // atoms of all replicas
};

struct Shared {
    float4* x;        // position, charge
    float4* a;        // sigma / 2, 2 sqrt(epsilon), Born charge, Born radius
    float2* born;     // offset radius, scaled radius
    float* weight;    // d(energy)/d(Born integral)
    float* slope;     // d(Born radius)/d(Born integral)
    float* radius;
    float* inverse_mass;
    float* v;         // (atoms, 3)
    float* f;
    float* old;
    int* bonded;      // (atoms, 3), fixed point
    float* sum;       // one per thread
};

DEVICE int bits(float x) {
#ifdef __CUDACC__
    return __float_as_int(x);
#else
    int i; memcpy(&i, &x, 4); return i;
#endif
}

DEVICE float as_float(int i) {
#ifdef __CUDACC__
    return __int_as_float(i);
#else
    float x; memcpy(&x, &i, 4); return x;
#endif
}

// The words of shared memory that a block needs: 26 per atom (rounded up to a multiple of four atoms) and one per thread.
#define SHARED_WORDS_PER_ATOM 26

DEVICE Shared partition(char* memory, int atoms) {
    Shared s;
    const int n = (atoms + 3) & ~3;
    s.x = (float4*)memory;
    s.a = s.x + n;
    s.born = (float2*)(s.a + n);
    s.weight = (float*)(s.born + n);
    s.slope = s.weight + n;
    s.radius = s.slope + n;
    s.inverse_mass = s.radius + n;
    s.v = s.inverse_mass + n;
    s.f = s.v + 3 * n;
    s.old = s.f + 3 * n;
    s.bonded = (int*)(s.old + 3 * n);
    s.sum = (float*)(s.bonded + 3 * n);
    return s;
}

DEVICE void add_bonded(const Shared& s, int atom, float x, float y, float z) {
    const float top = FORCE_LIMIT;
    int* f = s.bonded + 3 * atom;
    ATOMIC_ADD(f + 0, __float2int_rn(FORCE_SCALE * fminf(top, fmaxf(-top, x))));
    ATOMIC_ADD(f + 1, __float2int_rn(FORCE_SCALE * fminf(top, fmaxf(-top, y))));
    ATOMIC_ADD(f + 2, __float2int_rn(FORCE_SCALE * fminf(top, fmaxf(-top, z))));
}

DEVICE float bond_term(const Shared& s, float4 p) {
    const int packed = bits(p.x), i = packed & 255, j = packed >> 8 & 255;
    const float4 a = s.x[i], b = s.x[j];
    const float dx = a.x - b.x, dy = a.y - b.y, dz = a.z - b.z;
    const float inverse = rsqrtf(dx * dx + dy * dy + dz * dz);
    const float stretch = (dx * dx + dy * dy + dz * dz) * inverse - p.y;
    const float pull = -p.z * stretch * inverse;
    add_bonded(s, i, pull * dx, pull * dy, pull * dz);
    add_bonded(s, j, -pull * dx, -pull * dy, -pull * dz);
    return 0.5f * p.z * stretch * stretch;
}

DEVICE float angle_term(const Shared& s, float4 p) {
    const int packed = bits(p.x), i = packed & 255, j = packed >> 8 & 255, k = packed >> 16 & 255;
    const float4 a = s.x[i], b = s.x[j], c = s.x[k];
    float ux = a.x - b.x, uy = a.y - b.y, uz = a.z - b.z, vx = c.x - b.x, vy = c.y - b.y, vz = c.z - b.z;
    const float iu = rsqrtf(ux * ux + uy * uy + uz * uz), iv = rsqrtf(vx * vx + vy * vy + vz * vz);
    ux *= iu; uy *= iu; uz *= iu; vx *= iv; vy *= iv; vz *= iv;
    const float cosine = fminf(0.999999f, fmaxf(-0.999999f, ux * vx + uy * vy + uz * vz));
    const float bend = acosf(cosine) - p.y;
    const float scale = p.z * bend * rsqrtf(1.0f - cosine * cosine);
    const float fi = scale * iu, fk = scale * iv;
    const float ax = fi * (vx - cosine * ux), ay = fi * (vy - cosine * uy), az = fi * (vz - cosine * uz);
    const float cx = fk * (ux - cosine * vx), cy = fk * (uy - cosine * vy), cz = fk * (uz - cosine * vz);
    add_bonded(s, i, ax, ay, az);
    add_bonded(s, j, -ax - cx, -ay - cy, -az - cz);
    add_bonded(s, k, cx, cy, cz);
    return 0.5f * p.z * bend * bend;
}

// Torsion force after Blondel & Karplus, J. Comput. Chem. 17, 1132 (1996).
DEVICE float torsion_term(const Shared& s, int4 p, const float4* coefficients) {
    const int i = p.x & 255, j = p.x >> 8 & 255, k = p.x >> 16 & 255, l = p.x >> 24 & 255;
    const float4 a = s.x[i], b = s.x[j], c = s.x[k], d = s.x[l];
    const float b1x = b.x - a.x, b1y = b.y - a.y, b1z = b.z - a.z;
    const float b2x = c.x - b.x, b2y = c.y - b.y, b2z = c.z - b.z;
    const float b3x = d.x - c.x, b3y = d.y - c.y, b3z = d.z - c.z;
    const float mx = b1y * b2z - b1z * b2y, my = b1z * b2x - b1x * b2z, mz = b1x * b2y - b1y * b2x;
    const float nx = b2y * b3z - b2z * b3y, ny = b2z * b3x - b2x * b3z, nz = b2x * b3y - b2y * b3x;
    const float m2 = mx * mx + my * my + mz * mz, n2 = nx * nx + ny * ny + nz * nz;
    const float length2 = b2x * b2x + b2y * b2y + b2z * b2z, length = sqrtf(length2);
    const float inverse = rsqrtf(m2) * rsqrtf(n2);
    const float cosine = (mx * nx + my * ny + mz * nz) * inverse;
    const float sine = length * (b1x * nx + b1y * ny + b1z * nz) * inverse;
    float energy = 0.0f, slope = 0.0f, cn = 1.0f, sn = 0.0f;
    int done = 0;
    for (int t = 0; t < p.z; ++t) {  // sorted by periodicity
        const float4 q = coefficients[p.y + t];
        for (const int periodicity = int(q.x); done < periodicity; ++done) {
            const float next = cn * cosine - sn * sine;
            sn = sn * cosine + cn * sine;
            cn = next;
        }
        energy += q.w + cn * q.y + sn * q.z;
        slope += q.x * (cn * q.z - sn * q.y);
    }
    const float fi = slope * length / m2, fl = -slope * length / n2;
    const float ix = fi * mx, iy = fi * my, iz = fi * mz, lx = fl * nx, ly = fl * ny, lz = fl * nz;
    const float s12 = (b1x * b2x + b1y * b2y + b1z * b2z) / length2, s32 = (b3x * b2x + b3y * b2y + b3z * b2z) / length2;
    add_bonded(s, i, ix, iy, iz);
    add_bonded(s, j, -(1 + s12) * ix + s32 * lx, -(1 + s12) * iy + s32 * ly, -(1 + s12) * iz + s32 * lz);
    add_bonded(s, k, -(1 + s32) * lx + s12 * ix, -(1 + s32) * ly + s12 * iy, -(1 + s32) * lz + s12 * iz);
    add_bonded(s, l, lx, ly, lz);
    return energy;
}

DEVICE float exception_term(const Shared& s, float4 p) {
    const int packed = bits(p.x), i = packed & 255, j = packed >> 8 & 255;
    const float4 a = s.x[i], b = s.x[j];
    const float dx = a.x - b.x, dy = a.y - b.y, dz = a.z - b.z;
    const float inverse = rsqrtf(dx * dx + dy * dy + dz * dz), inverse2 = inverse * inverse;
    const float s2 = p.z * p.z * inverse2, s6 = s2 * s2 * s2, coulomb = p.y * inverse;
    const float push = (coulomb + 6 * p.w * s6 * (2 * s6 - 1)) * inverse2;
    add_bonded(s, i, push * dx, push * dy, push * dz);
    add_bonded(s, j, -push * dx, -push * dy, -push * dz);
    return coulomb + p.w * s6 * (s6 - 1);
}

// Descreening of an atom of offset radius `o` by one of scaled radius `s` at distance r (eq. 10 of Onufriev et al.,
// without the factor 1/2).
DEVICE float descreening(float o, float inverse_o, float s, float r, float inverse) {
    const float lower = fmaxf(o, fabsf(r - s)), upper = r + s;
    const float both = RECIPROCAL(lower * upper), l = both * upper, u = both * lower;
    const float l2 = l * l, u2 = u * u;
    float term = l - u + 0.25f * r * (u2 - l2) + 0.5f * inverse * LOG(u * lower) + 0.25f * s * s * inverse * (l2 - u2);
    if (o < s - r) term += 2.0f * (inverse_o - l);
    return o < upper ? term : 0.0f;
}

// Its derivative with respect to r: the integral's limits contribute nothing, the integrand's two halves meet there.
DEVICE float descreening_slope(float o, float s, float r, float inverse2) {
    const float lower = fmaxf(o, fabsf(r - s)), upper = r + s;
    const float both = RECIPROCAL(lower * upper), l = both * upper, u = both * lower;
    const float slope = -0.25f * (l - u) * (l + u) * (1.0f + s * s * inverse2) - 0.5f * inverse2 * LOG(u * lower);
    return o < upper ? slope : 0.0f;
}

DEVICE void born_radius(const Shared& s, int n, int i) {
    const float4 a = s.x[i];
    const float2 own = s.born[i];
    const float inverse_o = 1.0f / own.x;
    float integral = 0.0f;
    for (int j = 0; j < n; ++j) {
        const float4 b = s.x[j];
        const float dx = a.x - b.x, dy = a.y - b.y, dz = a.z - b.z;
        const float r2 = dx * dx + dy * dy + dz * dz + (i == j ? 1.0f : 0.0f), inverse = rsqrtf(r2);
        const float term = descreening(own.x, inverse_o, s.born[j].y, r2 * inverse, inverse);
        integral += i == j ? 0.0f : term;
    }
    const float psi = 0.5f * own.x * integral, radius = s.radius[i];
    const float th = tanhf(psi * (1.0f + psi * (-0.8f + 4.85f * psi)));
    const float born = 1.0f / (inverse_o - th / radius);
    s.a[i].w = born;
    s.slope[i] = born * born * (1 - th * th) * (1 + psi * (-1.6f + 14.55f * psi)) * own.x * 0.5f / radius;
}

// Force on atom i from all others at fixed Born radii; half of each pair's energy.
DEVICE float pair_terms(const Shared& s, int n, int i, const word* mask, bool born, float surface) {
    const float4 a = s.x[i], p = s.a[i];
    float fx = 0, fy = 0, fz = 0, energy = 0, by_radius = 0;
    for (int first = 0; first < n; first += 32) {
        const word excluded = mask[first >> 5];
        const int last = first + 32 < n ? first + 32 : n;
        for (int j = first; j < last; ++j) {
            const float4 b = s.x[j], q = s.a[j];
            const float dx = a.x - b.x, dy = a.y - b.y, dz = a.z - b.z;
            const float r2 = dx * dx + dy * dy + dz * dz, safe = i == j ? 1.0f : r2, inverse = rsqrtf(safe);
            const float inverse2 = inverse * inverse, sigma = p.x + q.x;
            const float s2 = sigma * sigma * inverse2, s6 = s2 * s2 * s2, depth = p.y * q.y;
            const float coulomb = a.w * b.w * inverse;
            const bool out = excluded >> (j - first) & 1u;
            float push = out ? 0.0f : (coulomb + 6 * depth * s6 * (2 * s6 - 1)) * inverse2;
            energy += out ? 0.0f : coulomb + depth * s6 * (s6 - 1);
            if (born) {
                const float product = p.w * q.w, d = 0.25f * r2 * RECIPROCAL(product), e = EXP(-d);
                const float f = rsqrtf(r2 + product * e), g = -p.z * q.z * f, g3 = g * f * f;
                energy += g;
                push += g3 * (1.0f - 0.25f * e);
                by_radius -= 0.5f * g3 * e * (1.0f + d) * q.w;
            }
            fx += push * dx; fy += push * dy; fz += push * dz;
        }
    }
    float total = 0.5f * energy;
    if (born) {
        const float probe = s.radius[i] + 0.14f, ratio = s.radius[i] / p.w, r3 = ratio * ratio * ratio;
        const float area = surface * probe * probe * r3 * r3;
        total += area;
        s.weight[i] = (by_radius - 6.0f * area / p.w) * s.slope[i];
    }
    s.f[3 * i] = fx; s.f[3 * i + 1] = fy; s.f[3 * i + 2] = fz;
    return total;
}

// Force on atom i through the Born radii.
DEVICE void chain_terms(const Shared& s, int n, int i) {
    const float4 a = s.x[i];
    const float2 own = s.born[i];
    const float weight = s.weight[i];
    float fx = 0, fy = 0, fz = 0;
    for (int j = 0; j < n; ++j) {
        const float4 b = s.x[j];
        const float2 other = s.born[j];
        const float dx = a.x - b.x, dy = a.y - b.y, dz = a.z - b.z;
        const float r2 = dx * dx + dy * dy + dz * dz + (i == j ? 1.0f : 0.0f), inverse = rsqrtf(r2), r = r2 * inverse;
        const float inverse2 = inverse * inverse;
        const float slope = weight * descreening_slope(own.x, other.y, r, inverse2)
            + s.weight[j] * descreening_slope(other.x, own.y, r, inverse2);
        const float push = -slope * inverse;  // times a difference of zero where i == j
        fx += push * dx; fy += push * dy; fz += push * dz;
    }
    s.f[3 * i] += fx; s.f[3 * i + 1] += fy; s.f[3 * i + 2] += fz;
}

DEVICE float bonded_terms(const Shared& s, const Molecule& m, const Tables& t, int tid) {
    float energy = 0.0f;
    for (int k = tid; k < m.torsions; k += THREADS)
        energy += torsion_term(s, t.torsion[m.torsion + k], t.coefficient + m.coefficient);
    for (int k = tid; k < m.angles; k += THREADS) energy += angle_term(s, t.angle[m.angle + k]);
    for (int k = tid; k < m.exceptions; k += THREADS) energy += exception_term(s, t.exception[m.exception + k]);
    for (int k = tid; k < m.bonds; k += THREADS) energy += bond_term(s, t.bond[m.bond + k]);
    return energy;
}

// Leaves the forces in s.f and each thread's share of the potential energy in s.sum.
DEVICE void forces(const Shared& s, const Molecule& m, const Tables& t) {
    const int n = m.atoms;
    const bool born = m.born != 0;
    PHASE
        for (int k = tid; k < 3 * n; k += THREADS) s.bonded[k] = 0;
        if (born) for (int i = tid; i < n; i += THREADS) born_radius(s, n, i);
    END_PHASE
    PHASE
        float energy = bonded_terms(s, m, t, tid);
        for (int i = tid; i < n; i += THREADS)
            energy += pair_terms(s, n, i, t.mask + (m.atom + i) * MASK_WORDS, born, as_float(m.surface));
        s.sum[tid] = energy;
    END_PHASE
    PHASE
        for (int i = tid; i < n; i += THREADS) {
            if (born) chain_terms(s, n, i);
            for (int d = 0; d < 3; ++d) s.f[3 * i + d] += s.bonded[3 * i + d] * (1.0f / FORCE_SCALE);
        }
    END_PHASE
}

DEVICE void philox(word c[4], word k0, word k1) {
    for (int round = 0; round < 10; ++round) {
        const unsigned long long p0 = 0xD2511F53ull * c[0], p1 = 0xCD9E8D57ull * c[2];
        const word c1 = c[1], c3 = c[3];
        c[0] = word(p1 >> 32) ^ c1 ^ k0; c[1] = word(p1);
        c[2] = word(p0 >> 32) ^ c3 ^ k1; c[3] = word(p0);
        k0 += 0x9E3779B9u; k1 += 0xBB67AE85u;
    }
}

// Three independent standard normal numbers (Box & Muller 1958) for one atom and step.
DEVICE float4 normals(unsigned long long seed, unsigned long long step, int atom) {
    word c[4] = {word(step), word(step >> 32), word(atom), 0u};
    philox(c, word(seed), word(seed >> 32));
    const float unit = 2.3283064e-10f, half = 4.6566129e-10f;  // 2^-32, 2^-31
    const float r1 = sqrtf(-2.0f * logf((float(c[0]) + 0.5f) * unit)), r2 = sqrtf(-2.0f * logf((float(c[2]) + 0.5f) * unit));
    const float a1 = half * float(int(c[1])), a2 = half * float(int(c[3]));  // half turns in (-1, 1]
    return make_float4(r1 * cospif(a1), r1 * sinpif(a1), r2 * cospif(a2), 0.0f);
}

// Removes the velocities along the constrained bonds of one cluster (Andersen, J. Comput. Phys. 52, 24, 1983).
DEVICE void rattle(const Shared& s, int4 cluster, float4 distances) {
    const int count = cluster.y >> 8, c = cluster.x & 255;
    const int h[4] = {cluster.x >> 8 & 255, cluster.x >> 16 & 255, cluster.x >> 24 & 255, cluster.y & 255};
    const float d[4] = {distances.x, distances.y, distances.z, distances.w};
    const float wc = s.inverse_mass[c];
    float rx[4], ry[4], rz[4], vx[4], vy[4], vz[4], scale[4], w[4];
    float cx = s.v[3 * c], cy = s.v[3 * c + 1], cz = s.v[3 * c + 2];
#pragma unroll
    for (int k = 0; k < 4; ++k) if (k < count) {
        rx[k] = s.x[c].x - s.x[h[k]].x; ry[k] = s.x[c].y - s.x[h[k]].y; rz[k] = s.x[c].z - s.x[h[k]].z;
        vx[k] = s.v[3 * h[k]]; vy[k] = s.v[3 * h[k] + 1]; vz[k] = s.v[3 * h[k] + 2];
        w[k] = s.inverse_mass[h[k]];
        scale[k] = 1.0f / (d[k] * d[k] * (wc + w[k]));
    }
    for (int round = 0; round < RATTLE_ROUNDS; ++round) {
        bool done = true;
#pragma unroll
        for (int k = 0; k < 4; ++k) if (k < count) {
            const float along = (cx - vx[k]) * rx[k] + (cy - vy[k]) * ry[k] + (cz - vz[k]) * rz[k];
            const float g = along * scale[k];
            cx -= g * wc * rx[k]; cy -= g * wc * ry[k]; cz -= g * wc * rz[k];
            vx[k] += g * w[k] * rx[k]; vy[k] += g * w[k] * ry[k]; vz[k] += g * w[k] * rz[k];
            done = done && fabsf(along) < RATTLE_TOLERANCE;
        }
        if (done) break;
    }
    s.v[3 * c] = cx; s.v[3 * c + 1] = cy; s.v[3 * c + 2] = cz;
#pragma unroll
    for (int k = 0; k < 4; ++k) if (k < count) {
        s.v[3 * h[k]] = vx[k]; s.v[3 * h[k] + 1] = vy[k]; s.v[3 * h[k] + 2] = vz[k];
    }
}

// Puts the constrained bonds of one cluster back to their lengths along their directions before the drift
// (Ryckaert, Ciccotti & Berendsen, J. Comput. Phys. 23, 327, 1977); the shift over the time step goes into the velocities.
DEVICE void shake(const Shared& s, int4 cluster, float4 distances, float rate) {
    const int count = cluster.y >> 8, c = cluster.x & 255;
    const int h[4] = {cluster.x >> 8 & 255, cluster.x >> 16 & 255, cluster.x >> 24 & 255, cluster.y & 255};
    const float d[4] = {distances.x, distances.y, distances.z, distances.w};
    const float wc = s.inverse_mass[c];
    float ox[4], oy[4], oz[4], dx[4], dy[4], dz[4], w[4];  // old and new bonds, hydrogens' shifts
    float hx[4], hy[4], hz[4], cx = 0, cy = 0, cz = 0;
#pragma unroll
    for (int k = 0; k < 4; ++k) if (k < count) {
        const float* a = s.old + 3 * c;
        const float* b = s.old + 3 * h[k];
        ox[k] = a[0] - b[0]; oy[k] = a[1] - b[1]; oz[k] = a[2] - b[2];
        dx[k] = s.x[c].x - s.x[h[k]].x; dy[k] = s.x[c].y - s.x[h[k]].y; dz[k] = s.x[c].z - s.x[h[k]].z;
        w[k] = s.inverse_mass[h[k]];
        hx[k] = hy[k] = hz[k] = 0.0f;
    }
    for (int round = 0; round < SHAKE_ROUNDS; ++round) {
        bool done = true;
#pragma unroll
        for (int k = 0; k < 4; ++k) if (k < count) {
            const float nx = dx[k] + cx - hx[k], ny = dy[k] + cy - hy[k], nz = dz[k] + cz - hz[k], d2 = d[k] * d[k];
            const float miss = d2 - nx * nx - ny * ny - nz * nz;
            const float g = miss / (2.0f * (wc + w[k]) * (nx * ox[k] + ny * oy[k] + nz * oz[k]));
            cx += g * wc * ox[k]; cy += g * wc * oy[k]; cz += g * wc * oz[k];
            hx[k] -= g * w[k] * ox[k]; hy[k] -= g * w[k] * oy[k]; hz[k] -= g * w[k] * oz[k];
            done = done && fabsf(miss) < SHAKE_TOLERANCE * d2;
        }
        if (done) break;
    }
    s.x[c].x += cx; s.x[c].y += cy; s.x[c].z += cz;
    s.v[3 * c] += cx * rate; s.v[3 * c + 1] += cy * rate; s.v[3 * c + 2] += cz * rate;
#pragma unroll
    for (int k = 0; k < 4; ++k) if (k < count) {
        const int i = h[k];
        s.x[i].x += hx[k]; s.x[i].y += hy[k]; s.x[i].z += hz[k];
        s.v[3 * i] += hx[k] * rate; s.v[3 * i + 1] += hy[k] * rate; s.v[3 * i + 2] += hz[k] * rate;
    }
}

DEVICE void remove_bond_velocities(const Shared& s, const Molecule& m, const Tables& t) {
    PHASE
        for (int k = tid; k < m.clusters; k += THREADS) rattle(s, t.cluster[m.cluster + k], t.distance[m.cluster + k]);
    END_PHASE
}

// One step after the forces are known.
DEVICE void advance(
    const Shared& s, const Molecule& m, const Tables& t, unsigned long long seed, unsigned long long step, float kT,
    float dt, float keep, float kick
) {
    const int n = m.atoms;
    PHASE
        for (int i = tid; i < n; i += THREADS)
            for (int d = 0; d < 3; ++d) s.v[3 * i + d] += dt * s.inverse_mass[i] * s.f[3 * i + d];
    END_PHASE
    remove_bond_velocities(s, m, t);
    PHASE
        for (int i = tid; i < n; i += THREADS) {
            const float4 noise = kick > 0.0f ? normals(seed, step, i) : make_float4(0, 0, 0, 0);
            const float width = kick * sqrtf(kT * s.inverse_mass[i]);
            float* v = s.v + 3 * i;
            float4 x = s.x[i];
            s.old[3 * i] = x.x; s.old[3 * i + 1] = x.y; s.old[3 * i + 2] = x.z;
            const float ux = keep * v[0] + width * noise.x, uy = keep * v[1] + width * noise.y;
            const float uz = keep * v[2] + width * noise.z;
            x.x += 0.5f * dt * (v[0] + ux); x.y += 0.5f * dt * (v[1] + uy); x.z += 0.5f * dt * (v[2] + uz);
            v[0] = ux; v[1] = uy; v[2] = uz;
            s.x[i] = x;
        }
    END_PHASE
    PHASE
        for (int k = tid; k < m.clusters; k += THREADS)
            shake(s, t.cluster[m.cluster + k], t.distance[m.cluster + k], 1.0f / dt);
    END_PHASE
}

DEVICE float thread_sum(const Shared& s) {
    float total = 0.0f;
    for (int k = 0; k < THREADS; ++k) total += s.sum[k];
    return total;
}

// Moves the centroid to the origin: a free molecule drifts away, and its coordinates would lose digits.
DEVICE void centre(const Shared& s, int n) {
    PHASE
        for (int d = tid; d < 3; d += THREADS) {
            float sum = 0.0f;
            for (int i = 0; i < n; ++i) sum += d == 0 ? s.x[i].x : d == 1 ? s.x[i].y : s.x[i].z;
            s.old[d] = sum / n;
        }
    END_PHASE
    PHASE
        for (int i = tid; i < n; i += THREADS) { s.x[i].x -= s.old[0]; s.x[i].y -= s.old[1]; s.x[i].z -= s.old[2]; }
    END_PHASE
}

DEVICE void load(const Shared& s, const Molecule& m, const Tables& t, const State& state, long long offset) {
    PHASE
        for (int i = tid; i < m.atoms; i += THREADS) {
            const float4 a = t.atom_a[m.atom + i], b = t.atom_b[m.atom + i];
            const float* x = state.position + 3 * (offset + i);
            const float* v = state.velocity + 3 * (offset + i);
            s.x[i] = make_float4(x[0], x[1], x[2], a.x);
            s.a[i] = make_float4(a.y, a.z, a.w, 0.0f);
            s.born[i] = make_float2(b.x, b.y);
            s.radius[i] = b.z; s.inverse_mass[i] = b.w;
            s.v[3 * i] = v[0]; s.v[3 * i + 1] = v[1]; s.v[3 * i + 2] = v[2];
            s.weight[i] = 0.0f;
        }
    END_PHASE
}

DEVICE void store(const Shared& s, const Molecule& m, const State& state, int replica, long long offset) {
    PHASE
        float kinetic = 0.0f;
        const float potential = tid == 0 ? thread_sum(s) : 0.0f;
        for (int i = tid; i < m.atoms; i += THREADS) {
            float* x = state.position + 3 * (offset + i);
            float* v = state.velocity + 3 * (offset + i);
            x[0] = s.x[i].x; x[1] = s.x[i].y; x[2] = s.x[i].z;
            for (int d = 0; d < 3; ++d) v[d] = s.v[3 * i + d];
            if (state.force) for (int d = 0; d < 3; ++d) state.force[3 * (offset + i) + d] = s.f[3 * i + d];
        }
        if (tid == 0) {
            for (int i = 0; i < m.atoms; ++i)
                kinetic += (s.v[3 * i] * s.v[3 * i] + s.v[3 * i + 1] * s.v[3 * i + 1] + s.v[3 * i + 2] * s.v[3 * i + 2])
                    / s.inverse_mass[i];
            state.energy[2 * replica] = potential;
            state.energy[2 * replica + 1] = 0.5f * kinetic;
        }
    END_PHASE
}

DEVICE void write_frame(const Shared& s, const Molecule& m, const State& state, int replica, int replicas, long long first, int frame) {
    PHASE
        short* to = state.frames + 3 * (frame * state.frame_atoms + first);
        for (int i = tid; i < m.atoms; i += THREADS) {
            const float top = 32767.0f;  // pm
            to[3 * i] = short(__float2int_rn(fminf(top, fmaxf(-top, 1000.0f * s.x[i].x))));
            to[3 * i + 1] = short(__float2int_rn(fminf(top, fmaxf(-top, 1000.0f * s.x[i].y))));
            to[3 * i + 2] = short(__float2int_rn(fminf(top, fmaxf(-top, 1000.0f * s.x[i].z))));
        }
        if (tid == 0 && state.frame_energy)
            state.frame_energy[(long long)frame * replicas + replica] = thread_sum(s);
    END_PHASE
}

#define ARRAYS \
    const Molecule* molecules, const float4* atom_a, const float4* atom_b, const word* mask, const float4* bond, \
    const float4* angle, const int4* torsion, const float4* coefficient, const float4* exception, const int4* cluster, \
    const float4* distance, const int* molecule, const long long* offset, float* position, float* velocity, \
    float* force, float* energy, const float* kT, const unsigned long long* seed, unsigned long long* step, \
    const int* order, short* frames, float* frame_energy, long long frame_atoms
#define SETTINGS int steps, int every, float dt, float keep, float kick, int flags, int replicas

#define RECENTRE 1  // keep the centroid at the origin
#define PROJECT 2   // first remove the velocities along constrained bonds

// Runs `steps` steps of every block's replica and leaves positions, velocities, energies and forces at its end; a frame
// after each `every` steps (0: none), `keep` = exp(-friction dt), `kick` = sqrt(1 - keep^2).
ENTRY run(ARRAYS, SETTINGS) {
    const Tables t = {molecules, atom_a, atom_b, mask, bond, angle, torsion, coefficient, exception, cluster, distance};
    const State state = {molecule, offset, position, velocity, force, energy, kT, seed, step, order, frames, frame_energy,
                         frame_atoms};
#ifdef __CUDACC__
    extern __shared__ float4 memory[];
    const int block = blockIdx.x;
    char* shared = (char*)memory;
#else
    const int block = emulated.block;
    char* shared = emulated.shared;
#endif
    const int replica = order[block];
    const Molecule m = molecules[molecule[replica]];
    const long long first = offset[replica];
    const unsigned long long key = seed[replica], begin = step[replica];
    const float heat = kT[replica];
    const Shared s = partition(shared, m.atoms);
    load(s, m, t, state, first);
    const bool recentre = flags & RECENTRE;
    if (flags & PROJECT) remove_bond_velocities(s, m, t);
    for (int done = 0;; ++done) {
        if (recentre && done % 500 == 0) centre(s, m.atoms);
        const bool due = every > 0 && done > 0 && done % every == 0;
        if (due && recentre) centre(s, m.atoms);
        forces(s, m, t);
        if (due) write_frame(s, m, state, replica, replicas, first, done / every - 1);
        if (done == steps) break;
        advance(s, m, t, key, begin + done, heat, dt, keep, kick);
    }
    store(s, m, state, replica, first);
    PHASE
        if (tid == 0) step[replica] = begin + steps;
    END_PHASE
}

#ifndef __CUDACC__
// Runs the blocks one after the other, each with `threads` threads that take turns, in reverse if asked to.
extern "C" void emulate(ARRAYS, SETTINGS, int blocks, int threads, int reverse, char* shared) {
    for (int block = 0; block < blocks; ++block) {
        emulated = {block, threads, reverse, shared};
        run(molecules, atom_a, atom_b, mask, bond, angle, torsion, coefficient, exception, cluster, distance, molecule, offset,
            position, velocity, force, energy, kT, seed, step, order, frames, frame_energy, frame_atoms, steps, every, dt,
            keep, kick, flags, replicas);
    }
}
#endif
