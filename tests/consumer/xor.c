// A program outside the tree: learns exclusive or with tensor operations, as
// an application that has its own training loop would.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <quern/quern.h>

enum { SAMPLES = 4, INPUTS = 2, HIDDEN = 8, STEPS = 400 };

static const float x_data[SAMPLES][INPUTS] = {{0, 0}, {0, 1}, {1, 0}, {1, 1}};
static const float y_data[SAMPLES][1] = {{0}, {1}, {1}, {0}};

static void check(const qn_error *error)
{
    if (error->status == QN_OK)
        return;
    fprintf(stderr, "%s\n", error->text);
    exit(EXIT_FAILURE);
}

// x W^T + b
static qn_node *dense(qn_graph *g, qn_node *x, const char *name, int64_t in,
                      int64_t out)
{
    qn_graph_push(g, name);
    qn_node *w = qn_parameter(g, "weight", qn_shape_of(out, in));
    qn_node *b = qn_parameter(g, "bias", qn_shape_of(out));
    qn_graph_pop(g);
    return qn_add(g, qn_matmul(g, x, w, qn_matmul_params(.trans_b = true)), b);
}

static void fill(qn_store *store, qn_error *error)
{
    for (int i = 0; i < qn_store_count(store); i++) {
        qn_store_entry entry;
        float values[HIDDEN * INPUTS];
        qn_store_entry_at(store, i, &entry);
        if (strcmp(entry.group, "parameters") != 0 || entry.shape.rank != 2)
            continue; // slots and biases begin at 0
        qn_init_fill(&(struct qn_init_params){0}, &entry.shape, entry.dtype,
                     entry.name, 1, values, error);
        qn_store_write(store, i, values,
                       sizeof *values * (size_t)qn_shape_count(&entry.shape),
                       error);
    }
}

int main(void)
{
    qn_error error = {0};
    qn_device *device = qn_device_open(NULL, &error);
    check(&error);
    qn_store *store = qn_store_create(device, &error);
    check(&error);

    qn_graph *g = qn_graph_create(QN_FLOAT32);
    qn_node *x = qn_input(g, "x", QN_FLOAT32, qn_shape_of(SAMPLES, INPUTS));
    qn_node *y = qn_input(g, "y", QN_FLOAT32, qn_shape_of(SAMPLES, 1));
    qn_node *hidden = qn_tanh(g, dense(g, x, "hidden", INPUTS, HIDDEN));
    qn_node *guess = qn_sigmoid(g, dense(g, hidden, "out", HIDDEN, 1));
    qn_node *loss = qn_mean(g, qn_square(g, qn_sub(g, guess, y)), NULL);

    struct qn_optimizer_params adam =
        qn_optimizer_defaults(qn_optimizer_find("adam"));
    struct qn_optimizer_update update;
    qn_optimizer_build(g, loss, &adam, &update);
    qn_graph_check(g, &error);
    check(&error);

    qn_store_add(store, g, &error);
    fill(store, &error);
    check(&error);
    qn_node *const outputs[] = {loss, guess};
    qn_plan *plan = qn_plan_create(
        device,
        &(struct qn_plan_params){
            .graph = g, .store = store, .outputs = outputs, .output_count = 2},
        &error);
    check(&error);
    qn_plan_write(plan, x, x_data, sizeof x_data);
    qn_plan_write(plan, y, y_data, sizeof y_data);
    struct qn_optimizer_step at = qn_optimizer_start(adam.optimizer);
    at.lr = 0.05;
    for (at.step = 1; at.step <= STEPS; at.step++) {
        qn_optimizer_set(&update, plan, &at);
        qn_plan_run(plan);
    }

    float last, guesses[SAMPLES];
    qn_plan_read(plan, loss, &last, sizeof last);
    qn_plan_read(plan, guess, guesses, sizeof guesses);
    check(qn_plan_error(plan));
    int wrong = 0;
    for (int i = 0; i < SAMPLES; i++) {
        printf("%g xor %g = %.3f\n", x_data[i][0], x_data[i][1], guesses[i]);
        wrong += fabsf(guesses[i] - y_data[i][0]) > 0.2f;
    }
    printf("loss %.5f after %d steps\n", last, STEPS);

    qn_plan_destroy(&plan);
    qn_graph_destroy(&g);
    qn_store_destroy(&store);
    qn_device_close(&device);
    return wrong ? EXIT_FAILURE : EXIT_SUCCESS;
}
