// Transposes 16 x 16 elements in registers. CPU only.

#if CPU

// Rows become columns after four rounds that interleave rows i and i + 8.
static inline void transpose16(REAL16 *r)
{
    REAL16 t[16];
    UNROLL for (int round = 0; round < 2; round++) {
        UNROLL for (int i = 0; i < 8; i++) {
            ZIP(r[i], r[i + 8], t[2 * i], t[2 * i + 1]);
        }
        UNROLL for (int i = 0; i < 8; i++) {
            ZIP(t[i], t[i + 8], r[2 * i], r[2 * i + 1]);
        }
    }
}

#endif
