// Cases of up-sampling: nearest and bilinear, to whole multiples and to odd
// sizes, smaller ones too.
//
// A pixel is a mean of 4 with weights that are rounded a few times; a gradient
// is a sum of as many as lie around it.
#include "cases.h"

#include <stddef.h>

void cases_add_resample(void)
{
    static const struct {
        struct ref_shape x, size;
    } rows[] = {
        {SHAPE(1, 1, 1, 1), SHAPE(1, 1)},   {SHAPE(1, 2, 1, 1), SHAPE(3, 5)},
        {SHAPE(2, 3, 2, 3), SHAPE(4, 6)},   {SHAPE(1, 17, 4, 4), SHAPE(8, 8)},
        {SHAPE(1, 2, 5, 7), SHAPE(15, 21)}, {SHAPE(2, 1, 3, 17), SHAPE(7, 40)},
        {SHAPE(1, 2, 5, 9), SHAPE(5, 9)},   {SHAPE(1, 1, 7, 33), SHAPE(3, 16)},
        {SHAPE(1, 2, 2, 31), SHAPE(1, 47)}, {SHAPE(1, 3, 8, 1), SHAPE(17, 1)},
    };
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        for (int mode = 0; mode < 3; mode++) {
            struct qn_case c = {
                .op = "resample",
                .variant = (const char *const[]){"nearest", "bilinear",
                                                 "by corners"}[mode],
                .in = {{.shape = rows[i].x}},
                .count = 1,
                .params = {.shape = rows[i].size, .mode = mode},
                .terms = mode ? 6 : 0,
                .has_grad = true,
            };
            case_add(&c);
            if (i % 2)
                continue;
            c.op = "resample_grad";
            c.in[0].fixed = true;
            c.in[1].shape = rows[i].x;
            for (int d = 0; d < 2; d++)
                c.in[1].shape.dims[d + 2] = rows[i].size.dims[d];
            c.count = 2;
            c.terms = 20;
            case_add(&c);
        }
}
