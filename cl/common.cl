// Put before every kernel file: the real type, vectors, loads and stores.
//
// REAL_IS_DOUBLE  0: REAL is float; 1: double
// REAL_IS_INT     1: REAL is int, for copies of integers
// CPU             1: RV is a vector of VW = 16 lanes, and one work-item walks a
//                 span of elements; 0: RV is one element, VW = 1, and there is
//                 a work-item for each element
// Sums keep a fixed order, so results do not depend on luck.

#ifndef REAL_IS_DOUBLE
#define REAL_IS_DOUBLE 0
#endif
#ifndef REAL_IS_INT
#define REAL_IS_INT 0
#endif
#ifndef CPU
#define CPU 1
#endif

#if REAL_IS_INT
typedef int REAL;
typedef int16 REAL16;
#define CONVERT_REAL16 convert_int16
#elif REAL_IS_DOUBLE
#pragma OPENCL EXTENSION cl_khr_fp64 : enable
typedef double REAL;
typedef double16 REAL16;
#define CONVERT_REAL16 convert_double16
#else
typedef float REAL;
typedef float16 REAL16;
#define CONVERT_REAL16 convert_float16
#endif

#if CPU
typedef REAL16 RV;
#define VW 16
#else
typedef REAL RV;
#define VW 1
#endif

#define K(value) ((RV)((REAL)(value)))
#define SEL(condition, yes, no) ((condition) ? (yes) : (no))
#define UNROLL __attribute__((opencl_unroll_hint))
// One work-item a group: the CPU kernels' shape, which lets the compiler drop
// its loop over work-items.
#define SINGLE __attribute__((reqd_work_group_size(1, 1, 1)))

// Loads of m lanes, 1 <= m <= VW, from p on; the other lanes are 0. `stride`
// counts elements; 0 repeats one element.
#if CPU
#define DEFINE_LOADS(name, type)                                           \
    static inline RV load_##name(global const type *p, const int m)       \
    {                                                                      \
        if (m == VW)                                                       \
            return CONVERT_REAL16(vload16(0, p));                          \
        REAL lanes[VW];                                                    \
        for (int k = 0; k < VW; k++)                                       \
            lanes[k] = k < m ? (REAL)p[k] : (REAL)0;                       \
        return vload16(0, lanes);                                          \
    }                                                                      \
    static inline RV gather_##name(global const type *p, const long stride, \
                                   const int m)                            \
    {                                                                      \
        REAL lanes[VW];                                                    \
        for (int k = 0; k < VW; k++)                                       \
            lanes[k] = k < m ? (REAL)p[k * stride] : (REAL)0;              \
        return vload16(0, lanes);                                          \
    }
#else
#define DEFINE_LOADS(name, type)                                           \
    static inline RV load_##name(global const type *p, const int m)       \
    {                                                                      \
        return (REAL)*p;                                                   \
    }                                                                      \
    static inline RV gather_##name(global const type *p, const long stride, \
                                   const int m)                            \
    {                                                                      \
        return (REAL)*p;                                                   \
    }
#endif

DEFINE_LOADS(real, REAL)
DEFINE_LOADS(int, int)
DEFINE_LOADS(uchar, uchar)

// Stores a whole vector at any element. PoCL cuts vstore16 into three stores;
// a processor takes whole lines at once better.
#if CPU
typedef REAL16 __attribute__((aligned(sizeof(REAL)))) LOOSE16;
#define STORE16(v, p) (*(global LOOSE16 *)(p) = (v))
#endif

// Stores the first m lanes.
#if CPU
#define DEFINE_STORE(name, type, convert)                                  \
    static inline void store_##name(const RV v, global type *p, const int m) \
    {                                                                      \
        if (m == VW) {                                                     \
            vstore16(convert(v), 0, p);                                    \
        } else {                                                           \
            type lanes[VW];                                                \
            vstore16(convert(v), 0, lanes);                                \
            for (int k = 0; k < m; k++)                                    \
                p[k] = lanes[k];                                           \
        }                                                                  \
    }
#else
#define DEFINE_STORE(name, type, convert)                                  \
    static inline void store_##name(const RV v, global type *p, const int m) \
    {                                                                      \
        *p = (type)v;                                                      \
    }
#endif

DEFINE_STORE(real, REAL, )
DEFINE_STORE(int, int, convert_int16)
DEFINE_STORE(uchar, uchar, convert_uchar16)

// The larger one and the smaller one; NaN if either is NaN.
#define MAX_NAN(x, y) SEL(((x) >= (y)) | ((x) != (x)), (x), (y))
#define MIN_NAN(x, y) SEL(((x) <= (y)) | ((x) != (x)), (x), (y))

#define PLUS(x, y) ((x) + (y))

// Sum and maximum (NaN if there is one) over the lanes, as a tree. It goes
// through memory, which compilers see through: Oclgrind's check for
// uninitialised values goes wrong on the lanes of a vector.
#if CPU
#define DEFINE_TREE(name, join)                                            \
    static inline REAL name(const RV v)                                    \
    {                                                                      \
        REAL s[VW];                                                        \
        vstore16(v, 0, s);                                                 \
        vstore8(join(vload8(0, s), vload8(1, s)), 0, s);                   \
        vstore4(join(vload4(0, s), vload4(1, s)), 0, s);                   \
        return join(join(s[0], s[2]), join(s[1], s[3]));                   \
    }
DEFINE_TREE(sum_lanes, PLUS)
DEFINE_TREE(max_lanes, MAX_NAN)

// The number of each lane.
#define LANE ((RV)(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15))

// The part of a line from p on: -infinity behind its m-th element. `left`
// counts what the tensor has from p on, so that whole vectors may be read.
static inline RV load_line(global const REAL *p, const long m, const long left)
{
    const RV v =
        left >= VW ? vload16(0, p) : load_real(p, (int)min(m, (long)VW));
    return SEL(LANE < K(m), v, K(-INFINITY));
}
#endif

#if CPU
// ZIP interleaves x and y, UNZIP undoes it. PoCL makes more of vector literals;
// Oclgrind's check for uninitialised values, however, goes wrong on lanes
// picked one by one.
#ifdef __SPIR__
#if REAL_IS_DOUBLE
typedef ulong16 LANES;
#else
typedef uint16 LANES;
#endif
#define ZIP(x, y, low, high)                                               \
    low = shuffle2(x, y, (LANES)(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, \
                                 6, 22, 7, 23));                           \
    high = shuffle2(x, y, (LANES)(8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, \
                                  29, 14, 30, 15, 31))
#define UNZIP(x, y, even_lanes, odd_lanes)                                 \
    even_lanes = shuffle2(x, y, (LANES)(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, \
                                        20, 22, 24, 26, 28, 30));          \
    odd_lanes = shuffle2(x, y, (LANES)(1, 3, 5, 7, 9, 11, 13, 15, 17, 19,  \
                                       21, 23, 25, 27, 29, 31))
#else
#define ZIP(x, y, low, high)                                               \
    low = (REAL16)(x.s0, y.s0, x.s1, y.s1, x.s2, y.s2, x.s3, y.s3, x.s4,   \
                   y.s4, x.s5, y.s5, x.s6, y.s6, x.s7, y.s7);              \
    high = (REAL16)(x.s8, y.s8, x.s9, y.s9, x.sa, y.sa, x.sb, y.sb, x.sc,  \
                    y.sc, x.sd, y.sd, x.se, y.se, x.sf, y.sf)
#define UNZIP(x, y, even_lanes, odd_lanes)                                 \
    even_lanes = (REAL16)(x.even, y.even);                                 \
    odd_lanes = (REAL16)(x.odd, y.odd)
#endif
#endif

// ---- store hooks ----
//
// What a heavy kernel can do to its result while it stores it, as run-time
// flags, so that no program is compiled for it. The flags are QN_HOOK_* of
// lib/tensor/launch.h, applied in this order:
//
//   1 ADD_ROW  v += row[place]
//   2 ADD      v += full[i]
//   4 RELU     v = v < 0 ? 0 : v            NaN stays
//   8 GATE     v = gate[i] > 0 ? v : 0
//
// row runs along the columns, or along the dimension that the launch names;
// full and gate are as large as the output, in its layout; i is the output's
// element. A pointer whose flag is off is never read. The output
// must not share memory with them: a kernel may keep partial sums there.
#define HOOK_PARAMS                                                   \
    const int hook_flags, global const REAL *hook_row,                \
        global const REAL *hook_full, global const REAL *hook_gate
#define HOOK_ARGS hook_flags, hook_row, hook_full, hook_gate
#define HOOKS                                                         \
    (struct hooks) { HOOK_ARGS }

struct hooks {
    int flags;
    global const REAL *row;
    global const REAL *full;
    global const REAL *gate;
};

// The hooks after ADD_ROW.
static inline RV apply_later_hooks(RV v, const struct hooks h, const long i,
                                   const int m)
{
    if (h.flags & 2)
        v += load_real(h.full + i, m);
    if (h.flags & 4)
        v = SEL(v < K(0), K(0), v);
    if (h.flags & 8)
        v = SEL(load_real(h.gate + i, m) > K(0), v, K(0));
    return v;
}

// Applies the flagged hooks to m lanes, the first of which is element i in
// column `column`, along which the row runs.
static inline RV apply_hooks(RV v, const struct hooks h, const long i,
                             const int column, const int m)
{
    if (h.flags & 1)
        v += load_real(h.row + column, m);
    return apply_later_hooks(v, h, i, m);
}

// The same where all lanes lie at one place of the row: in one plane.
static inline RV apply_plane_hooks(RV v, const struct hooks h, const long i,
                                   const int plane, const int m)
{
    if (h.flags & 1)
        v += K(h.row[plane]);
    return apply_later_hooks(v, h, i, m);
}
