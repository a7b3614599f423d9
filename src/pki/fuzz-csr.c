/* Any bytes as a certificate request, as certificates and as keys, in PEM and in DER. */
#include "pki/csr.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str text = str_n((const char *)data, size);
    struct arena a;
    struct pki_csr csr;
    struct pki_cert_info info;
    struct pki_bundle bundle;
    arena_init(&a, 1 << 20);
    if (pki_csr_read(text, &a, &csr, NULL)) {
        pki_csr_deinit(&csr);
    }
    (void)!pki_csr_check(text, NULL);
    struct pki_cert *c = pki_cert_of_der(text, NULL);
    if (c) {
        (void)!pki_cert_inspect(c, &a, &info, NULL);
        pki_cert_unref(c);
    }
    if (pki_bundle_read(&bundle, text, NULL)) {
        pki_bundle_deinit(&bundle);
    }
    pki_key_unref(pki_key_of_spki(text, NULL));
    pki_key_unref(pki_key_read_private(text, NULL));
    arena_deinit(&a);
    return 0;
}
