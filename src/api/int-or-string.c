#include "api/int-or-string.h"

bool ios_percent(const struct api_int_or_string *v, int32_t *ret)
{
    return v->kind == API_IOS_STRING && str_ends(v->s, STR("%")) && str_to_i32(str_n(v->s.ptr, v->s.len - 1), ret);
}

bool ios_scaled(const struct api_int_or_string *v, int32_t total, bool round_up, int32_t *ret, struct err *err)
{
    int32_t percent;
    if (v->kind != API_IOS_STRING) {
        *ret = v->kind == API_IOS_INT ? v->i : 0;
        return true;
    }
    if (!str_ends(v->s, STR("%"))) {
        return err_set(err, ERR_INVALID, "invalid value for IntOrString: invalid type: string is not a percentage");
    }
    if (!ios_percent(v, &percent)) {
        struct str s = str_sub(v->s, 0, 100);
        return err_set(err, ERR_INVALID,
                       "invalid value for IntOrString: invalid value \"%.*s\": strconv.Atoi: parsing \"%.*s\": invalid syntax",
                       STR_ARG(s), STR_ARG(str_sub(s, 0, s.len - 1)));
    }
    int64_t product = (int64_t)percent * total, scaled = product / 100;
    if (product % 100 != 0) {
        scaled += round_up && product > 0 ? 1 : !round_up && product < 0 ? -1 : 0;
    }
    *ret = scaled > INT32_MAX ? INT32_MAX : scaled < INT32_MIN ? INT32_MIN : (int32_t)scaled;
    return true;
}

struct str ios_str(struct arena *a, const struct api_int_or_string *v)
{
    return v->kind == API_IOS_STRING ? v->s : arena_printf(a, "%d", v->kind == API_IOS_INT ? v->i : 0);
}

bool ios_equal(const struct api_int_or_string *a, const struct api_int_or_string *b)
{
    if (a->kind != b->kind) {
        return false;
    }
    return a->kind == API_IOS_STRING ? str_eq(a->s, b->s) : a->kind == API_IOS_UNSET || a->i == b->i;
}
