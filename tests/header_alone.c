// One public header alone, twice: it needs nothing before it and is guarded.
#include HEADER
#include HEADER

extern int header_alone;
