#include "component/gates.h"

#include "api/gate.h"

bool gates_check(const struct flag_strings *gates, struct err *err)
{
    struct api_gates_set set = { 0 };
    for (size_t i = 0; i < gates->n; i++) {
        struct str name, value;
        bool on;
        if (!str_cut(gates->items[i], '=', &name, &value) || !str_to_bool(value, &on)) {
            return err_set(err, ERR_INVALID, "--feature-gates: \"%.*s\" is not Name=true or Name=false", STR_ARG(gates->items[i]));
        }
        if (str_eq_c(name, "AllAlpha") || str_eq_c(name, "AllBeta")) {
            if (on) {
                return err_set(err, ERR_INVALID, "--feature-gates: %.*s=true is not implemented: gates have their defaults here", STR_ARG(name));
            }
            continue;
        }
        if (!api_gate_set(&set, name, on, err)) {
            return err_wrap(err, "--feature-gates");
        }
        if (api_gate_on(NULL, name) != on) {
            return err_set(err, ERR_INVALID, "--feature-gates: %.*s=%s is not implemented: it is always %s here", STR_ARG(name),
                           on ? "true" : "false", on ? "off" : "on");
        }
    }
    return true;
}
