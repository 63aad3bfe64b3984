// Maximum norms, after the rule of an update and in its second launch:
//
//   w = w min(1, most / |w|_2)    over the weights w of each unit
//
//   units[U][5]   of a unit: first element in x, runs of elements, from run to
//                 run, elements of a run, number of its parameter
//   coefficients[P][7]  of a parameter, see optim.cl; the sixth is `most`
//   x[N]          parameters, updated in place
//   gate[1]       GATE 1: nothing changes where it is not finite
//   watch[C + 1]  WATCH 1, of the rule's launch: nor if the last one is set
//   average[N]    AVERAGE 1: moving average of x, with the weight average_rate
//                 for the new x; the rule's launch has left these elements out
//   ahead[N]      LOOKAHEAD 1: moves as x does
//
// A norm that is not finite leaves its unit as it is. CPU: a work-item takes
// every n-th unit, by vectors of 16 lanes; GPU: a group does. Sums are Kahan's,
// since a unit may be a whole tensor.

#ifndef GROUP
#define GROUP 64
#endif
#ifndef GATE
#define GATE 0
#endif
#ifndef WATCH
#define WATCH 0
#endif
#ifndef AVERAGE
#define AVERAGE 0
#endif
#ifndef LOOKAHEAD
#define LOOKAHEAD 0
#endif

#if GATE && WATCH
#define GATE_HEAD                                                         \
    global const REAL *gate, global const int *watch, const int chunk_count,
#define IS_SHUT (!isfinite(gate[0]) || watch[chunk_count] != 0)
#elif GATE
#define GATE_HEAD global const REAL *gate,
#define IS_SHUT (!isfinite(gate[0]))
#else
#define GATE_HEAD
#endif
#if AVERAGE
#define AVERAGE_HEAD global REAL *average, const REAL average_rate,
#else
#define AVERAGE_HEAD
#endif
#if LOOKAHEAD
#define LOOKAHEAD_HEAD global REAL *ahead,
#else
#define LOOKAHEAD_HEAD
#endif

#if CPU
#define FIRST_ELEMENT 0
#else
#define FIRST_ELEMENT (long)get_local_id(0)
#endif
#define STRIDE (VW * (long)get_local_size(0))

// The elements i to i + m - 1 of each run that are this work-item's.
#define EACH_PART                                                         \
    for (long run = 0; run < runs; run++)                                 \
        for (long i = at + run * between + FIRST_ELEMENT,                 \
                  end = at + run * between + length; i < end; i += STRIDE) {   \
            const int m = (int)min(end - i, (long)VW);

kernel
#if CPU
SINGLE
#endif
void max_norm(global const int *units, global const REAL *coefficients,
              global REAL *x, GATE_HEAD AVERAGE_HEAD LOOKAHEAD_HEAD
              const int unit_count)
{
#if !CPU
    local REAL part[GROUP];
    const int item = get_local_id(0);
#endif
#if GATE
    if (IS_SHUT)
        return;
#endif
    for (int u = get_group_id(0); u < unit_count; u += get_num_groups(0)) {
        global const int *unit = units + 5 * u;
        const long at = unit[0], runs = unit[1], between = unit[2];
        const long length = unit[3];
        const REAL most = coefficients[7 * unit[4] + 5];
        RV sum = K(0), rest = K(0);
        EACH_PART
            const RV w = load_real(x + i, m);
            const RV more = fma(w, w, -rest);
            const RV next = sum + more;
            rest = (next - sum) - more;
            sum = next;
        }
#if CPU
        const REAL square = sum_lanes(sum);
#else
        barrier(CLK_LOCAL_MEM_FENCE);
        part[item] = sum;
        for (int reach = get_local_size(0) / 2; reach > 0; reach /= 2) {
            barrier(CLK_LOCAL_MEM_FENCE);
            if (item < reach)
                part[item] += part[item + reach];
        }
        barrier(CLK_LOCAL_MEM_FENCE);
        const REAL square = part[0];
#endif
        const REAL norm = sqrt(square);
        const bool is_over = isfinite(norm) && norm > most;
        const REAL factor = is_over ? most / norm : 1;
        if (AVERAGE == 0 && !is_over)
            continue;
        EACH_PART
            const RV x0 = load_real(x + i, m);
            const RV x1 = x0 * K(factor);
            store_real(x1, x + i, m);
#if AVERAGE
            const RV average0 = load_real(average + i, m);
            store_real(fma(K(average_rate), x1 - average0, average0),
                       average + i, m);
#endif
#if LOOKAHEAD
            store_real(load_real(ahead + i, m) + (x1 - x0), ahead + i, m);
#endif
        }
    }
}
