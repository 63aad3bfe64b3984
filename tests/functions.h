// Functions whose minima are known, with their gradients and Hessians.
#ifndef QN_FUNCTIONS_H
#define QN_FUNCTIONS_H

#include <stdint.h>

enum { N = 40 }; // variables of the quadratic

struct function {
    const char *name;
    int64_t n;
    double start[2]; // of functions of two variables; else all 1
    // The minimum's value is 0.
    double (*at)(const double *x, double *g);
    void (*product)(const double *x, const double *v, double *hv); // or NULL
    double precision;
    int evaluations;
    int fails_at; // this evaluation gives a status; 0: none
    int nan_at;   // this one gives a NaN
};
enum { ROSENBROCK, BEALE, QUADRATIC, DOUBLE_WELL, STEEP, FUNCTIONS };
extern const struct function functions[FUNCTIONS];

double rosenbrock(const double *x, double *g);

#endif
