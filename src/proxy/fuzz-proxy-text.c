/* Any bytes as a range of ports, of addresses, and as an address: texts of Services, slices and flags. */
#include <assert.h>

#include "proxy/ports.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const uint8_t families[] = { 2, 10 };
    struct str text = str_n((const char *)data, size);
    struct port_range r;
    struct proxy_cidr c;
    struct proxy_addr a, again;
    struct err err;
    char out[PROXY_ADDR_TEXT_SIZE];
    assert(!port_range_parse(text, &r, &err) || r.first + r.n <= 65536);
    assert(!proxy_cidr_parse(text, &c) || proxy_cidr_contains(&c, &c.addr));
    for (size_t i = 0; i < ARRAY_SIZE(families); i++) {
        if (proxy_addr_parse(families[i], text, &a)) {
            (void)proxy_addr_is_routable(families[i], &a);
            assert(proxy_addr_parse(families[i], str_c(proxy_addr_text(families[i], &a, out)), &again));
            assert(memcmp(&a, &again, sizeof(a)) == 0);
        }
    }
    return 0;
}
