/* Plugins that table.c lists; each is defined in a file named after it. */
#ifndef APISERVER_ADMISSION_TABLE_H
#define APISERVER_ADMISSION_TABLE_H

#include "apiserver/admission.h"

#endif
