/* A back end that keeps rows in memory: for tests, and for clusters that are thrown away. */
#ifndef STORE_MEMORY_H
#define STORE_MEMORY_H

#include "store/backend.h"

struct backend *memory_open(void);

#endif
