/* Calls that have no safe use here fail to compile. What to use instead stands beside each. */
#ifndef BASE_BANNED_H
#define BASE_BANNED_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* Some C libraries define a few of them as macros. */
#undef strcpy
#undef strcat
#undef strncpy
#undef strncat
#undef sprintf
#undef vsprintf
#undef strtok

#pragma GCC poison strcpy   /* struct str, arena_strdup(), buf_append() */
#pragma GCC poison strcat   /* buf_append() */
#pragma GCC poison strncpy  /* str_to_cstr() */
#pragma GCC poison strncat  /* buf_append() */
#pragma GCC poison sprintf  /* snprintf(), buf_printf() */
#pragma GCC poison vsprintf /* vsnprintf(), buf_vprintf() */
#pragma GCC poison strtok   /* str_split() */
#pragma GCC poison atoi     /* str_to_i64() */
#pragma GCC poison atol     /* str_to_i64() */
#pragma GCC poison gmtime   /* gmtime_r() */
#pragma GCC poison localtime
#pragma GCC poison gets

#endif
