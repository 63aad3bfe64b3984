// Pieces of kernels that compute tiles of a matrix in registers.

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

#else // !CPU

// A group of side x side work-items computes a tile of 4 side x 4 side
// elements, the depth in steps of STEP through local memory. Work-item (x, y)
// holds the 4 x 4 elements in rows y + r side and columns x + s side, so that
// neighbours touch neighbouring elements everywhere.
//
//   x_tile[STEP][4 SIDE + 1], y_tile likewise: rows and columns of one step
#define STEP 16

static inline void multiply_step(REAL sum[4][4], const int side,
                                 local const REAL *x_tile,
                                 local const REAL *y_tile)
{
    const int pitch = 4 * side + 1;
    for (int l = 0; l < STEP; l++) {
        REAL x[4], y[4];
        UNROLL for (int r = 0; r < 4; r++) {
            x[r] = x_tile[l * pitch + get_local_id(1) + r * side];
            y[r] = y_tile[l * pitch + get_local_id(0) + r * side];
        }
        UNROLL for (int r = 0; r < 4; r++)
            UNROLL for (int s = 0; s < 4; s++)
                sum[r][s] = fma(x[r], y[s], sum[r][s]);
    }
}

#endif
