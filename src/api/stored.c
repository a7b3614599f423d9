#include "api/stored.h"

static void message_as_stored(const struct api_type *t, char *obj);

static void items_as_stored(const struct api_field *f, char *p)
{
    void **items = (void **)(void *)p;
    size_t n = *(size_t *)(void *)(p + sizeof(void *));
    size_t size = f->card == API_MAP ? api_entry_size(f) : api_item_size(f);

    if (n == 0) {
        *items = NULL;
    } else if (f->message) {
        for (size_t i = 0; i < n; i++) {
            message_as_stored(f->message, (char *)*items + i * size + (f->card == API_MAP ? API_ENTRY_VALUE : 0));
        }
    }
}

static void message_as_stored(const struct api_type *t, char *obj)
{
    for (unsigned i = 0; i < t->n_fields; i++) {
        const struct api_field *f = &t->fields[i];
        char *p = obj + f->offset;

        if (f->card != API_SINGLE) {
            items_as_stored(f, p);
        } else if (f->message) {
            if (f->flags & API_F_POINTER) {
                p = *(char **)(void *)p;
            }
            if (p) {
                message_as_stored(f->message, p);
            }
        }
    }
}

void api_as_stored(const struct api_type *t, void *obj)
{
    message_as_stored(t, obj);
}
