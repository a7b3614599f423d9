/* Flags of the original programs that are refused with a reason. */
#ifndef CMD_ABSENT_FLAGS_H
#define CMD_ABSENT_FLAGS_H

#include "base/flags.h"

/* Why 'program' does not have the flag; NULL: the original has no such flag either. Fits struct flag_program. */
const char *absent_flag(const char *program, struct str flag);

#endif
