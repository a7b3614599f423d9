/* The admission plugins, in the order upstream calls them. */
#include "apiserver/admission/table.h"

const struct admission_plugin *const admission_plugins[] = {
    NULL,
};
