/* Whole numbers or percentages ("25%"), as metav1.IntOrString holds them: maxSurge, maxUnavailable, minAvailable, ports. */
#ifndef API_INT_OR_STRING_H
#define API_INT_OR_STRING_H

#include "api/type.h"
#include "base/arena.h"
#include "base/err.h"

static inline struct api_int_or_string ios_int(int32_t i)
{
    return (struct api_int_or_string){ .kind = API_IOS_INT, .i = i };
}
static inline struct api_int_or_string ios_string(struct str s)
{
    return (struct api_int_or_string){ .kind = API_IOS_STRING, .s = s };
}
/* The number, or the percentage of 'total' rounded up or down. Unset is 0. False for a string that is no percentage. */
MUST_CHECK bool ios_scaled(const struct api_int_or_string *v, int32_t total, bool round_up, int32_t *ret, struct err *err);
/* The number before '%'; false when it is none. */
MUST_CHECK bool ios_percent(const struct api_int_or_string *v, int32_t *ret);
/* As text: "80", "25%", "http". */
struct str ios_str(struct arena *a, const struct api_int_or_string *v);
bool ios_equal(const struct api_int_or_string *a, const struct api_int_or_string *b);

#endif
