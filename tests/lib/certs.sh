# Certificates for scenarios: `. "$ROOT/tests/lib/certs.sh"` after scenario.sh or alone.sh.

# sign_dated CSR CA EXTENSIONS FROM TO OUT: signs by the CA's files CA.crt and CA.key for exactly that time (`openssl x509` counts in days). The
# subject is the request's. EXTENSIONS is a file; FROM and TO are YYYYMMDDHHMMSSZ, or what `date -d` reads ("+12 seconds").
sign_dated() {
    local folder=$TMP/sign-dated from=$4 to=$5
    case $from in *Z) ;; *) from=$(date -u -d "$from" +%Y%m%d%H%M%SZ) ;; esac
    case $to in *Z) ;; *) to=$(date -u -d "$to" +%Y%m%d%H%M%SZ) ;; esac
    rm -rf "$folder" && mkdir "$folder" && : >"$folder/index" && openssl rand -hex 8 >"$folder/serial"
    cat >"$folder/conf" <<CNF
[ca]
default_ca=d
[d]
database=$folder/index
serial=$folder/serial
new_certs_dir=$folder
default_md=sha256
policy=p
unique_subject=no
preserve=yes
[p]
organizationName=optional
commonName=supplied
CNF
    openssl ca -batch -notext -config "$folder/conf" -in "$1" -cert "$2.crt" -keyfile "$2.key" -extfile "$3" -startdate "$from" -enddate "$to" \
        -out "$6" 2>"$folder/err" || { cat "$folder/err"; return 1; }
}
