#include "net/tls-key.h"

#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/x509.h>
#include <string.h>

#include "base/macros.h"

static const struct {
    const char *name;
    int type; /* 0: PKCS#8, which says it itself */
} forms[] = {
    { "PRIVATE KEY", 0 },
    { "EC PRIVATE KEY", EVP_PKEY_EC },
    { "RSA PRIVATE KEY", EVP_PKEY_RSA },
};

int net_tls_key_is_name(const char *name)
{
    for (size_t i = 0; i < ARRAY_SIZE(forms); i++) {
        if (strcmp(name, forms[i].name) == 0) {
            return 1;
        }
    }
    return strcmp(name, "ENCRYPTED PRIVATE KEY") == 0;
}

static EVP_PKEY *of_pkcs8(const unsigned char *der, long len)
{
    PKCS8_PRIV_KEY_INFO *info = d2i_PKCS8_PRIV_KEY_INFO(NULL, &der, len);
    EVP_PKEY *key = info ? EVP_PKCS82PKEY(info) : NULL;
    PKCS8_PRIV_KEY_INFO_free(info);
    return key;
}

EVP_PKEY *net_tls_key_of_der(const char *name, const unsigned char *der, long len)
{
    EVP_PKEY *key = NULL;
    for (size_t i = 0; i < ARRAY_SIZE(forms); i++) {
        if (strcmp(name, forms[i].name) == 0) {
            const unsigned char *p = der;
            key = forms[i].type ? d2i_PrivateKey(forms[i].type, NULL, &p, len) : of_pkcs8(der, len);
        }
    }
    if (!key) { /* some tools write one form under the other's name */
        const unsigned char *p = der;
        key = strcmp(name, "ENCRYPTED PRIVATE KEY") == 0 ? NULL : d2i_AutoPrivateKey(NULL, &p, len);
    }
    ERR_clear_error();
    return key;
}
