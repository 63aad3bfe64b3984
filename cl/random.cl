// Random numbers for pointwise rows: Philox4x32-10 (Salmon, Moraes, Dror, Shaw:
// Parallel Random Numbers: As Easy as 1, 2, 3, SC 2011).
//
//   words of block b = philox(counter (b mod 2^32, b / 2^32, step, seed),
//                             key (k0, k1))
//   element i        = from words of block i / 4 alone, with j = i mod 4:
//   uniform    low + width u(word j)
//   bernoulli  value where word j <= last, else 0
//   normal     mean + deviation sqrt(-2 log u(word j)) cos(2 pi u(word j + 1))
//              for even j; the odd element after it has the sine of the same
//
// u(word) = (word + 1/2) / 2^32, in float at most 1 - 2^-24: inside (0, 1).
// So an element depends on seed, step, key and its index, and on nothing that
// a device decides. The functions give the lanes i to i + VW - 1 for any i; on
// CPUs multiples of 4 are the fast case.

// Philox has words of 32 bits. They stand in lanes of 64 with zeros above,
// where a product of two is one instruction.
#if CPU
#if REAL_IS_DOUBLE
typedef double8 REAL8;
typedef ulong16 ORDER;
#else
typedef float8 REAL8;
typedef uint16 ORDER;
#endif
typedef ulong4 BLOCKS;
typedef uint16 WORDS;
#define WORDS_TO_REAL CONVERT_REAL16
#else
typedef ulong BLOCKS;
typedef uint WORDS;
#define WORDS_TO_REAL(words) ((REAL)(words))
#endif
#define LOW_WORD ((ulong)0xFFFFFFFF)

// c[0..3]: the words of the counters, replaced by those of their blocks.
static inline void philox(BLOCKS *c, ulong k0, ulong k1)
{
    BLOCKS c0 = c[0], c1 = c[1], c2 = c[2], c3 = c[3];
    UNROLL
    for (int round = 0; round < 10; round++) {
        const BLOCKS p0 = c0 * (ulong)0xD2511F53;
        const BLOCKS p2 = c2 * (ulong)0xCD9E8D57;
        c0 = (p2 >> 32) ^ c1 ^ k0;
        c1 = p2 & LOW_WORD;
        c2 = (p0 >> 32) ^ c3 ^ k1;
        c3 = p0 & LOW_WORD;
        k0 = (k0 + 0x9E3779B9) & LOW_WORD;
        k1 = (k1 + 0xBB67AE85) & LOW_WORD;
    }
    c[0] = c0;
    c[1] = c1;
    c[2] = c2;
    c[3] = c3;
}

// The blocks of the lanes' elements, from block i / 4 on.
static inline void random_blocks(BLOCKS *c, const ulong i, const uint seed,
                                 const uint step, const uint k0, const uint k1)
{
#if CPU
    const BLOCKS block = i / 4 + (ulong4)(0, 1, 2, 3);
#else
    const BLOCKS block = i / 4;
#endif
    c[0] = block & LOW_WORD;
    c[1] = block >> 32;
    c[2] = step;
    c[3] = seed;
    philox(c, k0, k1);
}

// Inside (0, 1).
static inline RV unit_of_words(const WORDS words)
{
#if REAL_IS_DOUBLE
    return fma(WORDS_TO_REAL(words), K(0x1p-32), K(0x1p-33));
#else
    return fmin(fma(WORDS_TO_REAL(words), K(0x1p-32), K(0x1p-33)),
                K(1 - 0x1p-24));
#endif
}

#if CPU

// Vectors are joined and split through memory, which compilers see through,
// and ordered by shuffle: Oclgrind 21.10 crashes on vectors put together from
// others and takes parts and lanes named out of order for uninitialized.

// Words `a` of the four blocks, then `b`, `c` and `d`.
static inline uint16 join_words(const ulong4 a, const ulong4 b, const ulong4 c,
                                const ulong4 d)
{
    ulong lanes[16];
    vstore4(a, 0, lanes);
    vstore4(b, 1, lanes);
    vstore4(c, 2, lanes);
    vstore4(d, 3, lanes);
    return convert_uint16(vload16(0, lanes));
}

// For i that are multiples of 4.
static inline WORDS aligned_words(const ulong i, const uint seed,
                                  const uint step, const uint k0,
                                  const uint k1)
{
    ulong4 w[4];
    random_blocks(w, i, seed, step, k0, k1);
    return shuffle(join_words(w[0], w[1], w[2], w[3]),
                   (uint16)(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11,
                            15));
}

static inline RV aligned_normals(const ulong i, const uint seed,
                                 const uint step, const uint k0,
                                 const uint k1)
{
    ulong4 w[4];
    random_blocks(w, i, seed, step, k0, k1);
    REAL lanes[16];
    vstore16(unit_of_words(join_words(w[0], w[2], w[1], w[3])), 0, lanes);
    const REAL8 radius = sqrt(log(vload8(0, lanes)) * (REAL)-2);
    const REAL8 turn = vload8(1, lanes) * (REAL)2;
    vstore8(radius * cospi(turn), 0, lanes);
    vstore8(radius * sinpi(turn), 1, lanes);
    return shuffle(vload16(0, lanes),
                   (ORDER)(0, 8, 4, 12, 1, 9, 5, 13, 2, 10, 6, 14, 3, 11, 7,
                           15));
}

// For any i: two aligned vectors, shifted.
#define DEFINE_SHIFTED(name, lane, aligned)                                \
    static lane##16 name(const ulong i, const uint seed, const uint step,  \
                         const uint k0, const uint k1)                     \
    {                                                                      \
        const ulong shift = i % 4;                                         \
        const lane##16 first = aligned(i - shift, seed, step, k0, k1);     \
        if (shift == 0)                                                    \
            return first;                                                  \
        const lane##16 second =                                            \
            aligned(i - shift + VW, seed, step, k0, k1);                   \
        lane lanes[2 * VW];                                                \
        vstore16(first, 0, lanes);                                         \
        vstore16(second, 1, lanes);                                        \
        return vload16(0, lanes + shift);                                  \
    }

DEFINE_SHIFTED(random_words, uint, aligned_words)
DEFINE_SHIFTED(random_normals, REAL, aligned_normals)

#else

static inline WORDS random_words(const ulong i, const uint seed,
                                 const uint step, const uint k0,
                                 const uint k1)
{
    ulong c[4];
    random_blocks(c, i, seed, step, k0, k1);
    const uint even = (uint)(i & 2 ? c[2] : c[0]);
    const uint odd = (uint)(i & 2 ? c[3] : c[1]);
    return i & 1 ? odd : even;
}

static inline RV random_normals(const ulong i, const uint seed,
                                const uint step, const uint k0, const uint k1)
{
    ulong c[4];
    random_blocks(c, i, seed, step, k0, k1);
    const REAL u = unit_of_words((uint)(i & 2 ? c[2] : c[0]));
    const REAL turn = (REAL)2 * unit_of_words((uint)(i & 2 ? c[3] : c[1]));
    return sqrt((REAL)-2 * log(u)) * (i & 1 ? sinpi(turn) : cospi(turn));
}

#endif

static inline RV random_uniform(const ulong i, const uint seed,
                                const uint step, const RV low, const RV width,
                                const uint k0, const uint k1)
{
    return fma(width, unit_of_words(random_words(i, seed, step, k0, k1)), low);
}

static inline RV random_normal(const ulong i, const uint seed,
                               const uint step, const RV mean,
                               const RV deviation, const uint k0,
                               const uint k1)
{
    return fma(deviation, random_normals(i, seed, step, k0, k1), mean);
}

// `value` is 1, or 0 where nothing is to be drawn.
static inline RV random_bernoulli(const ulong i, const uint seed,
                                  const uint step, const uint last,
                                  const RV value, const uint k0, const uint k1)
{
    const WORDS words = random_words(i, seed, step, k0, k1);
    return fabs(WORDS_TO_REAL(words <= last)) * value;
}
