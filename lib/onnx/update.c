// The optimizers of ai.onnx.preview.training, as pure functions: rate R, step
// T, then tensors X..., gradients G..., and each kind of state...; the results
// are new tensors and states in the same order. Their formulas differ from
// PyTorch's: the norm's gradient is added to G, and Adam adds epsilon to a
// root that is not yet corrected.
#include "onnx/row.h"
#include "quern/op.h"

// One tensor's share.
struct share {
    qn_node *rate;
    qn_node *step;
    qn_node *x;
    qn_node *gradient; // G + norm_coefficient X
    qn_node *state[2];
    qn_node *out[3];
};

typedef void update(struct qn_onnx_use *use, struct share *share);

// a x + b y
static qn_node *blend(qn_graph *g, double a, qn_node *x, double b, qn_node *y)
{
    return qn_add(g, qn_scale(g, x, a), qn_scale(g, y, b));
}

static void update_all(struct qn_onnx_use *use, int states, update *one)
{
    const int kinds = 2 + states, count = (use->in_count - 2) / kinds;
    const double norm = qn_onnx_float(use, "norm_coefficient", 0);
    if (count < 1 || use->in_count != 2 + count * kinds ||
        use->out_count != (1 + states) * count) {
        qn_onnx_fail(use, QN_FORMAT, "%d inputs and %d outputs",
                     use->in_count, use->out_count);
        return;
    }
    for (int i = 0; i < count; i++) {
        struct share share = {qn_onnx_in(use, 0), qn_onnx_in(use, 1),
                              qn_onnx_in(use, 2 + i)};
        share.gradient = blend(use->g, 1, qn_onnx_in(use, 2 + count + i),
                               norm, share.x);
        for (int s = 0; s < states; s++)
            share.state[s] = qn_onnx_in(use, 2 + (2 + s) * count + i);
        one(use, &share);
        for (int s = 0; s <= states; s++)
            use->out[s * count + i] = share.out[s];
    }
}

static qn_node *is_first(qn_graph *g, qn_node *step)
{
    return qn_equal(g, step, qn_constant(g, 0));
}

// V = alpha V + (T > 0 ? beta : 1) G;
// X -= R V, by Nesterov X -= R (G + alpha V)
static void update_momentum(struct qn_onnx_use *use, struct share *share)
{
    qn_graph *g = use->g;
    const double alpha = qn_onnx_float(use, "alpha", 0);
    qn_node *beta = qn_select(
        g, is_first(g, share->step), qn_constant(g, 1),
        qn_constant(g, qn_onnx_float(use, "beta", 0)));
    qn_node *velocity = qn_add(g, qn_scale(g, share->state[0], alpha),
                               qn_mul(g, beta, share->gradient));
    qn_node *along = velocity;
    if (qn_onnx_text_is(use, "mode", "", "nesterov"))
        along = blend(g, 1, share->gradient, alpha, velocity);
    else if (!qn_onnx_text_is(use, "mode", "", "standard"))
        qn_onnx_fail(use, QN_FORMAT, "needs a mode, standard or nesterov");
    share->out[0] = qn_sub(g, share->x, qn_mul(g, share->rate, along));
    share->out[1] = velocity;
}

// H += G^2; X -= R / (1 + T decay) G / (sqrt(H) + epsilon)
static void update_adagrad(struct qn_onnx_use *use, struct share *share)
{
    qn_graph *g = use->g;
    qn_node *decay = qn_add_scalar(
        g, qn_scale(g, share->step, qn_onnx_float(use, "decay_factor", 0)),
        1);
    qn_node *squares =
        qn_add(g, share->state[0], qn_square(g, share->gradient));
    qn_node *root = qn_add_scalar(g, qn_sqrt(g, squares),
                                  qn_onnx_float(use, "epsilon", 0));
    qn_node *rate = qn_div(g, share->rate, decay);
    share->out[0] = qn_sub(
        g, share->x, qn_div(g, qn_mul(g, rate, share->gradient), root));
    share->out[1] = squares;
}

// 1 where T is 0, else 1 - decay^T
static qn_node *correction(qn_graph *g, double decay, qn_node *step)
{
    qn_node *power = qn_pow(g, qn_constant(g, decay), step);
    return qn_select(g, is_first(g, step), qn_constant(g, 1),
                     qn_sub(g, qn_constant(g, 1), power));
}

// V = alpha V + (1 - alpha) G; H = beta H + (1 - beta) G^2;
// X -= R sqrt(1 - beta^T) / (1 - alpha^T) V / (sqrt(H) + epsilon)
static void update_adam(struct qn_onnx_use *use, struct share *share)
{
    qn_graph *g = use->g;
    const double alpha = qn_onnx_float(use, "alpha", 0.9);
    const double beta = qn_onnx_float(use, "beta", 0.999);
    const double after = qn_onnx_float(use, "norm_coefficient_post", 0);
    qn_node *v = blend(g, alpha, share->state[0], 1 - alpha,
                       share->gradient);
    qn_node *h = blend(g, beta, share->state[1], 1 - beta,
                       qn_square(g, share->gradient));
    qn_node *root = qn_add_scalar(g, qn_sqrt(g, h),
                                  qn_onnx_float(use, "epsilon", 0));
    qn_node *rate = qn_mul(g, share->rate,
                           qn_div(g, qn_sqrt(g, correction(g, beta,
                                                           share->step)),
                                  correction(g, alpha, share->step)));
    qn_node *x =
        qn_sub(g, share->x, qn_div(g, qn_mul(g, rate, v), root));
    share->out[0] = after == 0 ? x : qn_scale(g, x, 1 - after);
    share->out[1] = v;
    share->out[2] = h;
}

static void build_momentum(struct qn_onnx_use *use)
{
    update_all(use, 1, update_momentum);
}

static void build_adagrad(struct qn_onnx_use *use)
{
    update_all(use, 1, update_adagrad);
}

static void build_adam(struct qn_onnx_use *use)
{
    update_all(use, 2, update_adam);
}

#define ROW(name, least, names, builder)                                   \
    {.op = name, .domain = "ai.onnx.preview.training", .since = 1,         \
     .until = 1, .min_inputs = least, .max_inputs = QN_ONNX_MAX_VALUES,    \
     .max_outputs = QN_ONNX_MAX_VALUES,                                    \
     .attributes = "norm_coefficient " names, .build = builder}

const struct qn_onnx_row qn_onnx_update_rows[] = {
    ROW("Momentum", 5, "alpha beta mode", build_momentum),
    ROW("Adagrad", 5, "decay_factor epsilon", build_adagrad),
    ROW("Adam", 6, "alpha beta epsilon norm_coefficient_post", build_adam),
    {0},
};
