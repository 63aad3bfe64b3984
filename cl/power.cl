// x^y for the row pow, lane by lane on CPUs in double: there PoCL 3.1 gives
// wrong results in lanes that have a 0 or a subnormal x beside them.
static inline RV power(const RV x, const RV y)
{
#if CPU && REAL_IS_DOUBLE
    REAL xs[VW], ys[VW];
    vstore16(x, 0, xs);
    vstore16(y, 0, ys);
    for (int k = 0; k < VW; k++)
        xs[k] = pow(xs[k], ys[k]);
    return vload16(0, xs);
#else
    return pow(x, y);
#endif
}
