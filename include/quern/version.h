// SPDX-License-Identifier: MIT
// The version of the library. The build reads the three numbers from here, so
// that the soname and this header cannot disagree.
#ifndef QUERN_VERSION_H
#define QUERN_VERSION_H

#define QN_VERSION_MAJOR 0
#define QN_VERSION_MINOR 1
#define QN_VERSION_PATCH 0

#endif
