// Preprocessed by meson to learn where the header lies.
#include <Random123/philox.h>
