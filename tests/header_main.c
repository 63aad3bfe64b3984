// All public headers together, and a call that must find its symbol: in C++ it
// would not without extern "C".
#include <stdlib.h>

#include "quern/quern.h"
#include "quern/opencl.h"

int main(void)
{
    return qn_status_name(QN_OK) ? EXIT_SUCCESS : EXIT_FAILURE;
}
