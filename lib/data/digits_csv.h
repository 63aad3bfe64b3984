// digits.csv.gz, embedded by the build.
#ifndef QN_DATA_DIGITS_CSV_H
#define QN_DATA_DIGITS_CSV_H

#include <stddef.h>

extern const unsigned char qn_digits_csv[];
extern const size_t qn_digits_csv_size;

#endif
