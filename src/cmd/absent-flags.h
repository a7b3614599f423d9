/* Flags of the original programs that are refused with a reason. */
#ifndef CMD_ABSENT_FLAGS_H
#define CMD_ABSENT_FLAGS_H

#include "base/flags.h"

/* Gives the program the table of its name, if there is one. */
void absent_flags(struct flag_program *program);

#endif
