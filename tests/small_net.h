// Two small smooth networks with their gradients by hand, in double: what
// update rules are followed on. golden/make_optim.py has the same two.
#ifndef SMALL_NET_H
#define SMALL_NET_H

enum { SMALL_TENSORS = 4, SMALL_PARAMETERS = 47, SMALL_INPUTS = 180 };

// Parameters lie one after the other: weight, bias, weight, bias.
struct small_net {
    const char *name;
    const char *model;        // for qn_model_create
    const char *loss;         // for qn_loss_parse
    int features[3];          // of a sample, 0 where there are fewer
    int samples;
    int sizes[SMALL_TENSORS]; // parameters of each tensor
    int units[SMALL_TENSORS]; // rows of a weight; 0: a bias
    int count;                // parameters of all
    // The gradient g of the loss at parameters p.
    void (*gradient)(const double *p, const double *x, const double *target,
                     double *g);
};

// sigmoid(2-3-1), mean squared error over 8 samples
extern const struct small_net small_dense;
// 6x6 images, two 3x3 filters, tanh, means of 2x2, 3 classes, cross entropy
// over 5 samples
extern const struct small_net small_conv;

#endif
