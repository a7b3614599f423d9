#!/usr/bin/env python3
"""schema/ -> C structs and descriptor tables (src/api/gen in the build folder).

usage: gen-types.py SCHEMA_DIR OUT_DIR        writes <group>_<version>.h/.c, gates.c, index.h, index.c
       gen-types.py --list SCHEMA_DIR         prints the names of the files it writes, one a line

The schema format is told in schema/README.md, the layout of the structs in src/api/README.md. Output is stable: the same
schema gives the same bytes.
"""
import json
import os
import re
import sys

TOKEN = re.compile(r'([^\s="]+)(?:=("(?:[^"\\]|\\.)*"|\S*))?|("(?:[^"\\]|\\.)*")')

KEYWORDS = set('''auto break case char const continue default do double else enum extern float for goto if inline int long
register restrict return short signed sizeof static struct switch typedef union unsigned void volatile while bool true false
linux unix'''.split())

SCALARS = {
    # schema word: (ftype, C type)
    'string': ('API_STRING', 'struct str'),
    'bytes': ('API_BYTES', 'struct str'),
    'quantity': ('API_QUANTITY', 'struct str'),
    'duration': ('API_DURATION', 'struct str'),
    'raw': ('API_RAW', 'struct str'),
    'bool': ('API_BOOL', 'bool'),
    'int32': ('API_INT32', 'int32_t'),
    'int64': ('API_INT64', 'int64_t'),
    'uint32': ('API_UINT32', 'uint32_t'),
    'uint64': ('API_UINT64', 'uint64_t'),
    'double': ('API_DOUBLE', 'double'),
    'enum': ('API_ENUM', 'int32_t'),
    'time': ('API_TIME', 'struct api_time'),
    'microtime': ('API_MICROTIME', 'struct api_time'),
    'intorstring': ('API_INT_OR_STRING', 'struct api_int_or_string'),
    '[string]': ('API_STRLIST', 'struct api_str_list'),
}
# Presence by a flag beside the member; the other scalars have a value that means absent.
FLAGGED = {'API_BOOL', 'API_INT32', 'API_INT64', 'API_UINT32', 'API_UINT64', 'API_DOUBLE', 'API_ENUM'}
MAP_ENTRY = {'struct str': 'struct api_str_pair', 'struct api_time': 'struct api_time_entry',
             'struct api_str_list': 'struct api_str_list_entry'}
UNIONS = {'': 'API_FORM_OBJECT', 'schema-or-bool': 'API_FORM_SCHEMA_OR_BOOL', 'schema-or-array': 'API_FORM_SCHEMA_OR_ARRAY',
          'schema-or-strings': 'API_FORM_SCHEMA_OR_STRINGS'}
LISTMAP = {'atomic': 'API_LM_ATOMIC', 'set': 'API_LM_SET', 'map': 'API_LM_MAP', 'granular': 'API_LM_GRANULAR'}


class SchemaError(Exception):
    pass


def tokens(line):
    """[(word, value or None)] of a line; a lone "quoted text" is (text, None)."""
    out = []
    for m in TOKEN.finditer(line):
        word, value, quoted = m.groups()
        if quoted is not None:
            out.append((json.loads(quoted), None))
        else:
            if value is not None and value.startswith('"'):
                value = json.loads(value)
            out.append((word, value))
    return out


def snake(name):
    """hostIP -> host_ip, podIPs -> pod_ips, HTTPGetAction -> http_get_action."""
    s = name.replace('APIV3', 'ApiV3').replace('UInt', 'Uint')
    s = re.sub(r'[^A-Za-z0-9]+', '_', s).strip('_')
    # A plural acronym is one word: IPs -> Ips.
    s = re.sub(r'([A-Z]{2,})s(?=$|_|[A-Z])', lambda m: m.group(1).capitalize() + 's', s)
    s = re.sub(r'([A-Z]+)([A-Z][a-z])', r'\1_\2', s)
    s = re.sub(r'([a-z0-9])([A-Z])', r'\1_\2', s).lower()
    return s


def member_name(name):
    s = snake(name)
    return s + '_' if s in KEYWORDS or s[0].isdigit() else s


def c_str(s):
    """A C initializer of a struct str: the text, or absent."""
    if s is None:
        return '{ 0 }'
    return 'STR_INIT(%s)' % c_quote(s)


def c_quote(s):
    out = []
    for b in s.encode('utf-8'):
        ch = chr(b)
        if ch in '"\\':
            out.append('\\' + ch)
        elif ch == '\n':
            out.append('\\n')
        elif 32 <= b < 127 and ch != '?':
            out.append(ch)
        else:
            out.append('\\%03o' % b)
    return '"' + ''.join(out) + '"'


class Field:
    def __init__(self, owner, name, spec, number, attrs, where):
        self.owner, self.name, self.number, self.attrs = owner, name, number, attrs
        self.pointer = spec.startswith('*')
        spec = spec[1:] if self.pointer else spec
        self.card = 'API_SINGLE'
        if spec.startswith('[') and spec.endswith(']'):
            self.card, spec = 'API_LIST', spec[1:-1]
        elif spec.startswith('{') and spec.endswith('}'):
            self.card, spec = 'API_MAP', spec[1:-1]
        self.word = spec
        self.inline = name == '<inline>'
        self.message = None  # Type, set by resolve()
        if self.word not in SCALARS:
            self.ftype = 'API_MESSAGE'
        else:
            self.ftype = SCALARS[self.word][0]
        if self.inline:
            self.member = member_name(spec.split('.')[-1])
            self.json = ''
        else:
            self.member = member_name(name)
            self.json = name
        self.flagged = self.pointer and self.card == 'API_SINGLE' and self.ftype in FLAGGED
        self.where = where

    def c_type(self):
        return 'struct ' + self.message.c_name if self.message else SCALARS[self.word][1]

    def entry(self):
        """The type of a map's entry."""
        if self.message:
            return 'struct %s_entry' % self.message.c_name
        return MAP_ENTRY[self.c_type()]


class Type:
    def __init__(self, package, name, attrs):
        self.package, self.name, self.attrs = package, name, attrs
        self.full = package.name + '.' + name
        self.c_name = package.c_name + '_' + snake(name)
        self.fields, self.rules = [], []
        self.doc = None
        self.used_as_map_value = False

    def embedded(self):
        """Types whose struct must be complete before this one."""
        return [f.message for f in self.fields
                if f.message and f.card == 'API_SINGLE' and not f.pointer]

    def flat(self, prefix=''):
        """JSON fields with those of inline messages in place: (offset expression, Field)."""
        for f in self.fields:
            path = prefix + f.member
            if f.inline:
                yield from f.message.flat(path + '.')
            else:
                yield path, f


class Package:
    def __init__(self, path):
        self.path = path
        self.name = self.c_name = None
        self.group = self.version = None
        self.proto3 = False
        self.types, self.enums, self.services, self.resources = [], [], [], []
        self.parse()

    def fail(self, n, why):
        raise SchemaError('%s:%d: %s' % (self.path, n, why))

    def parse(self):
        block, cur = None, None
        with open(self.path, encoding='utf-8') as fh:
            for n, raw in enumerate(fh, 1):
                line = raw.rstrip('\n')
                if not line.strip() or line.lstrip().startswith('#'):
                    continue
                doc = None
                m = re.search(r'\s+## (.*)$', line)
                if m:
                    doc, line = m.group(1), line[:m.start()]
                t = tokens(line)
                head = t[0][0]
                if not line[0].isspace():
                    block, cur = head, self.top(n, head, t, doc)
                elif block == 'type':
                    self.type_line(n, cur, t, doc)
                elif block == 'resource':
                    self.resource_line(n, cur, t)
                elif block == 'enum':
                    cur['values'].append((head, int(t[1][0])))
                elif block == 'service':
                    m = re.fullmatch(r'\s+rpc\s+(\w+)\s+(stream )?(\w+) -> (stream )?(\w+)', line)
                    if not m:
                        self.fail(n, 'not an rpc: ' + line)
                    cur['rpcs'].append((m.group(1), bool(m.group(2)), m.group(3), bool(m.group(4)), m.group(5)))
                else:
                    self.fail(n, 'line belongs to nothing')
        if not self.name:
            self.fail(1, 'no package')

    def top(self, n, head, t, doc):
        if head == 'package':
            self.name = t[1][0]
            self.c_name = self.name.replace('.', '_')
            return None
        if head == 'group':
            self.group, self.version = t[1][0], t[2][0]
            return None
        if head == 'proto3':
            self.proto3 = True
            return None
        if head == 'type':
            ty = Type(self, t[1][0], dict(t[2:]))
            ty.doc = doc
            self.types.append(ty)
            return ty
        if head == 'enum':
            e = {'name': t[1][0], 'values': []}
            self.enums.append(e)
            return e
        if head == 'service':
            s = {'name': t[1][0], 'path': t[2][0], 'rpcs': []}
            self.services.append(s)
            return s
        if head == 'resource':
            r = {'resource': t[1][0], 'kind': t[2][0], 'attrs': dict(t[3:]), 'verbs': '', 'subs': [], 'columns': []}
            self.resources.append(r)
            return r
        self.fail(n, 'unknown word ' + head)

    def type_line(self, n, ty, t, doc):
        if t[0][0] == 'rule:':
            ty.rules.append(t[1][0])
            return
        if len(t) < 3:
            self.fail(n, 'a field needs name, type and number')
        number = 0 if t[2][0] == '-' else int(t[2][0])
        f = Field(ty, t[0][0], t[1][0], number, dict(t[3:]), n)
        f.attrs['doc'] = doc
        ty.fields.append(f)

    def resource_line(self, n, r, t):
        head = t[0][0]
        if head == 'verbs':
            v = t[1][0]
            r['verbs'] = 'create,delete,deletecollection,get,list,patch,update,watch' if v == '*' else v
        elif head == 'sub':
            r['subs'].append((t[1][0], t[2][0], t[3][0]))
        elif head == 'column':
            r['columns'].append((t[1][0], t[2][0], dict(t[3:])))
        else:
            self.fail(n, 'unknown word ' + head)


def load(root):
    packages = []
    for d in sorted(os.listdir(root)):
        sub = os.path.join(root, d)
        if os.path.isdir(sub):
            for f in sorted(os.listdir(sub)):
                if f.endswith('.schema'):
                    packages.append(Package(os.path.join(sub, f)))
    return packages


def resolve(packages):
    types = {}
    for p in packages:
        for t in p.types:
            if t.full in types:
                raise SchemaError('%s is defined twice' % t.full)
            types[t.full] = t
    for p in packages:
        for t in p.types:
            for f in t.fields:
                if f.ftype != 'API_MESSAGE':
                    continue
                full = f.word if f.word in types else p.name + '.' + f.word
                if full not in types:
                    p.fail(f.where, 'no type %s' % f.word)
                f.message = types[full]
                if f.card == 'API_MAP':
                    f.message.used_as_map_value = True
    for p in packages:
        for t in p.types:
            seen = {}
            for f in t.fields:
                if f.member in seen:
                    p.fail(f.where, 'members of %s and %s are both %s' % (f.name, seen[f.member], f.member))
                seen[f.member] = f.name
            names = [f.json for _, f in t.flat()]
            if len(set(names)) != len(names):
                raise SchemaError('%s has a JSON name twice' % t.full)
    return types


def closure(types, own):
    """Names of the types for which own() holds for the type or anything below it."""
    below = {n for n, t in types.items() if own(t)}
    changed = True
    while changed:
        changed = False
        for n, t in types.items():
            if n not in below and any(f.message and f.message.full in below for f in t.fields):
                below.add(n)
                changed = True
    return below


def order(p):
    """The package's types, embedded ones first, else as written."""
    out, done = [], set()

    def visit(t, stack):
        if t.full in done or t.package is not p:
            return
        if t.full in stack:
            raise SchemaError('%s contains itself by value' % t.full)
        for e in t.embedded():
            visit(e, stack | {t.full})
        done.add(t.full)
        out.append(t)
    for t in p.types:
        visit(t, frozenset())
    return out


def includes(p):
    """Packages whose structs this one embeds; the others are only pointed at."""
    inc = {e.package.name for t in p.types for e in t.embedded() if e.package is not p}
    inc |= {f.message.package.name for t in p.types for f in t.fields if f.message and f.message.package is not p}
    return sorted(inc)


def write_header(p, by_name):
    o = ['/* Generated by tools/gen-types.py from schema/%s/%s. */' % tuple(p.path.split(os.sep)[-2:])]
    guard = 'API_GEN_%s_H' % p.c_name.upper()
    o += ['#ifndef ' + guard, '#define ' + guard, '', '#include "api/type.h"']
    own = {t.package.name for t in p.types}
    for inc in includes(p):
        if inc not in own:
            o.append('#include "api/gen/%s.h"' % inc.replace('.', '_'))
    o.append('')
    for e in p.enums:
        prefix = (p.c_name + '_' + snake(e['name'].split('.')[-1])).upper()
        if '.' in e['name']:
            prefix = (p.c_name + '_' + snake(e['name'].replace('.', '_'))).upper()
        o.append('enum {')
        for name, value in e['values']:
            o.append('    %s_%s = %d,' % (prefix, re.sub(r'[^A-Z0-9_]', '_', snake(name).upper()
                                                         if not name.isupper() else name), value))
        o += ['};', '']
    ts = order(p)
    for t in ts:
        o.append('struct %s;' % t.c_name)
        if t.used_as_map_value:
            o.append('struct %s_entry;' % t.c_name)
    for t in ts:
        o.append('')
        if t.doc:
            o.append('/* %s */' % t.doc)
        o.append('struct %s {' % t.c_name)
        if not t.fields:
            o.append('    char empty_; /* the message has no fields */')
        for f in t.fields:
            doc = ' /* %s */' % f.attrs['doc'] if f.attrs.get('doc') else ''
            if f.card == 'API_LIST':
                o.append('    %s *%s;%s' % (f.c_type(), f.member, doc))
                o.append('    size_t n_%s;' % f.member)
            elif f.card == 'API_MAP':
                o.append('    %s *%s;%s' % (f.entry(), f.member, doc))
                o.append('    size_t n_%s;' % f.member)
            elif f.message and f.pointer:
                o.append('    %s *%s;%s' % (f.c_type(), f.member, doc))
            else:
                o.append('    %s %s;%s' % (f.c_type(), f.member, doc))
                if f.flagged:
                    o.append('    bool has_%s;' % f.member)
        o.append('};')
        if t.used_as_map_value:
            o += ['struct %s_entry {' % t.c_name, '    struct str key;', '    struct %s value;' % t.c_name, '};']
    o.append('')
    for t in ts:
        o.append('extern const struct api_type %s_type;' % t.c_name)
    for s in p.services:
        for name, *_ in s['rpcs']:
            o.append('extern const struct api_rpc %s_%s_%s_rpc;' % (p.c_name, snake(s['name']), snake(name)))
    o += ['', '#endif']
    return o


def json_of(f, value):
    """The JSON text of a default: strings are written bare in the schema."""
    if f.card == 'API_SINGLE' and f.ftype == 'API_STRING':
        return json.dumps(value)
    json.loads(value)
    return value


class Facts:
    """Shared cold facts: equal ones are written once per file."""

    def __init__(self, p):
        self.p, self.out, self.facts, self.lists = p, [], {}, {}

    def words(self, values):
        key = tuple(values)
        if key not in self.lists:
            name = 'words_%d' % len(self.lists)
            self.lists[key] = name
            self.out.append('static const struct str %s[] = { %s, { 0 } };'
                            % (name, ', '.join(c_str(v) for v in values)))
        return self.lists[key]

    def of(self, f):
        a = f.attrs
        parts = []
        if a.get('keys'):
            parts.append('.keys = ' + self.words(a['keys'].split(',')))
        if a.get('patchkey'):
            parts.append('.patch_key = ' + c_str(a['patchkey']))
        if a.get('default') is not None:
            parts.append('.default_json = ' + c_str(json_of(f, a['default'])))
        if a.get('fill') is not None:
            parts.append('.fill_json = ' + c_str(json_of(f, a['fill'])))
        e = a.get('enum') or a.get('known')
        if e:
            parts.append('.enum_values = ' + self.words(['' if v == "''" else v for v in e.split('|')]))
        if a.get('gate'):
            parts.append('.gate = ' + c_str(a['gate']))
        if a.get('check'):
            parts.append('.constraints = ' + c_str(a['check']))
        if a.get('oneof'):
            parts.append('.oneof = ' + c_str(a['oneof']))
        if a.get('items'):
            version, kind = a['items'].rsplit('.', 1)
            parts.append('.item_version = %s, .item_kind = %s' % (c_str(version), c_str(kind)))
        if a.get('doc'):
            parts.append('.doc = ' + c_str(a['doc']))
        if not parts:
            return '&api_no_facts'
        key = ', '.join(parts)
        if key not in self.facts:
            name = 'facts_%d' % len(self.facts)
            self.facts[key] = name
            self.out.append('static const struct api_facts %s = { %s };' % (name, key))
        return '&' + self.facts[key]


def flags(f):
    a, out = f.attrs, []
    if 'required' in a:
        out.append('API_F_REQUIRED')
    if f.pointer:
        out.append('API_F_POINTER')
    if 'omitzero' in a:
        out.append('API_F_OMITZERO')
    elif 'always' not in a and not f.inline:
        out.append('API_F_OMITEMPTY')
    if 'null' in a:
        out.append('API_F_NULL')
    if f.inline:
        out.append('API_F_INLINE')
    if 'immutable' in a:
        out.append('API_F_IMMUTABLE')
    if a.get('enum'):
        out.append('API_F_ENUM_CLOSED')
    if not f.number:
        out.append('API_F_NO_PROTO')
    patch = (a.get('patch') or '').split(',')
    if 'retainKeys' in patch:
        out.append('API_F_RETAIN_KEYS')
    if 'merge' in patch:
        out.append('API_F_PATCH_MERGE')
    if a.get('default') is not None or a.get('fill') is not None:
        out.append('API_F_FILL')
    if a.get('wire') == 'Verbs':
        out.append('API_F_WRAPPED')
    if a.get('items'):
        out.append('API_F_TYPE_META')
    if 'milli' in a:
        out.append('API_F_MILLI')
    return ' | '.join(out) or '0'


def listmap(f):
    v = f.attrs.get('list') or f.attrs.get('map') or f.attrs.get('struct')
    return LISTMAP[v] if v else 'API_LM_NONE'


def name_hash(name):
    """Must match api_name_hash() in src/api/type.h."""
    b = name.encode()
    if not b:
        return 0
    return (len(b) * 5 + b[0] * 3 + b[-1] * 7 + b[len(b) // 2] * 31 + b[len(b) // 4] * 17) & 0xffffffff


def hash_table(names):
    """Open addressing, linear probing: slot -> index + 1, 0 is empty."""
    size = 4
    while size < 2 * len(names):
        size *= 2
    table = [0] * size
    for i, n in enumerate(names):
        h = name_hash(n) & (size - 1)
        while table[h]:
            h = (h + 1) & (size - 1)
        table[h] = i + 1
    return table


def write_source(p, with_defaults, gated):
    facts = Facts(p)
    body = []
    for t in order(p):
        S = 'struct ' + t.c_name
        flat = list(t.flat())
        rows = []
        for f in t.fields:
            rows.append('    { .name = %s, .number = %d, .ftype = %s, .card = %s, .listmap = %s,\n'
                        '      .flags = %s,\n'
                        '      .probe = API_PROBE(%s, %s, %s, %s),\n'
                        '      .offset = offsetof(%s, %s), .has_offset = %s,\n'
                        '      .message = %s, .facts = %s },'
                        % (c_str(f.json), f.number, f.ftype, f.card, listmap(f), flags(f),
                           f.ftype, f.card, flags(f), 'true' if f.flagged else 'false', S, f.member,
                           'offsetof(%s, has_%s)' % (S, f.member) if f.flagged else '0',
                           '&%s_type' % f.message.c_name if f.message else 'NULL', facts.of(f)))
        c = t.c_name
        if t.fields:
            body.append('static const struct api_field %s_fields[] = {' % c)
            body += rows
            body.append('};')
        if flat:
            body.append('static const struct api_flat %s_flat[] = {' % c)
            for path, f in flat:
                owner = f.owner
                # Where the message that holds the field begins, seen from the outer one.
                base = 'offsetof(%s, %s)' % (S, path.rsplit('.', 1)[0]) if '.' in path else '0'
                if owner is t:
                    ref = '&%s_fields[%d]' % (c, t.fields.index(f))
                elif owner.package is p:
                    ref = '&%s_fields[%d]' % (owner.c_name, owner.fields.index(f))
                else:
                    raise SchemaError('%s inlines a type of another package' % t.full)
                body.append('    { %s, %s },' % (ref, base))
            body.append('};')
            if len(flat) > 250:
                raise SchemaError('%s: more than 250 fields need a wider hash table' % t.full)
            by_name = sorted(range(len(flat)), key=lambda i: flat[i][1].json.encode())
            body.append('static const uint8_t %s_by_name[] = { %s };' % (c, ', '.join(map(str, by_name))))
            table = hash_table([f.json for _, f in flat])
            body.append('static const uint8_t %s_hash[] = { %s };' % (c, ', '.join(map(str, table))))
        numbered = sorted((f.number, i) for i, f in enumerate(t.fields) if f.number)
        if len({n for n, _ in numbered}) != len(numbered):
            raise SchemaError('%s has a protobuf number twice' % t.full)
        if numbered:
            body.append('static const uint16_t %s_by_number[] = { %s };' % (c, ', '.join(str(i) for _, i in numbered)))
            top = numbered[-1][0]
            if top > 250:
                raise SchemaError('%s: protobuf numbers above 250 need another index' % t.full)
            dense = [0] * (top + 1)
            for n, i in numbered:
                dense[n] = i + 1
            body.append('static const uint8_t %s_number_index[] = { %s };' % (c, ', '.join(map(str, dense))))
        tf = []
        if p.proto3:
            tf.append('API_T_PROTO3')
        if t.full in with_defaults:
            tf.append('API_T_DEFAULTS')
        if t.full in gated:
            tf.append('API_T_GATED')
        if {'kind', 'apiVersion'} <= {f.json for f in t.fields if not f.number}:
            tf.append('API_T_OBJECT')
        body.append('const struct api_type %s_type = {' % c)
        body.append('    .name = %s, .size = sizeof(%s), .form = %s, .flags = %s,'
                    % (c_str(t.full), S, UNIONS[t.attrs.get('union', '')], ' | '.join(tf) or '0'))
        if t.fields:
            body.append('    .fields = %s_fields, .n_fields = %d,' % (c, len(t.fields)))
        if flat:
            body.append('    .flat = %s_flat, .n_flat = %d, .by_name = %s_by_name, .hash = %s_hash, .hash_mask = %d,'
                        % (c, len(flat), c, c, len(table) - 1))
        if numbered:
            body.append('    .by_number = %s_by_number, .n_by_number = %d, .number_index = %s_number_index, .max_number = %d,'
                        % (c, len(numbered), c, top))
        body.append('    .rule = %s, .doc = %s,' % (rule_name(t) if t.rules else 'API_RULE_NONE', c_str(t.doc)))
        body += ['};', '']
    for s in p.services:
        for name, cs, req, ss, resp in s['rpcs']:
            body.append('const struct api_rpc %s_%s_%s_rpc = {\n    .path = %s, .request = &%s_%s_type, .response = &%s_%s_type,\n'
                        '    .client_streams = %s, .server_streams = %s,\n};'
                        % (p.c_name, snake(s['name']), snake(name), c_str('/%s/%s' % (s['path'], name)),
                           p.c_name, snake(req), p.c_name, snake(resp), str(cs).lower(), str(ss).lower()))
    o = ['/* Generated by tools/gen-types.py from schema/%s/%s. */' % tuple(p.path.split(os.sep)[-2:]),
         '#include "api/gen/%s.h"' % p.c_name, '#include "api/gen/index.h"', '']
    return o + facts.out + [''] + body


def rule_name(t):
    return 'API_RULE_' + t.c_name.upper()


def write_index_header(packages):
    o = ['/* Generated by tools/gen-types.py: defaulting rules that a fill value cannot tell, one per type that has some. */',
         '#ifndef API_GEN_INDEX_H', '#define API_GEN_INDEX_H', '', '#include "api/type.h"', '', 'enum api_rule {',
         '    API_RULE_NONE,']
    for p in packages:
        for t in p.types:
            if t.rules:
                o.append('    /* %s */' % '\n     * '.join(r.replace('*/', '* /') for r in t.rules))
                o.append('    %s,' % rule_name(t))
    o += ['    API_RULE_MAX', '};', '', '#endif']
    return o


def write_index_source(packages, types):
    o = ['/* Generated by tools/gen-types.py: every type, every resource. */', '#include "api/gen/index.h"']
    o += ['#include "api/gen/%s.h"' % p.c_name for p in packages]
    o += ['', 'const struct api_type *const api_types[] = {']
    o += ['    &%s_type,' % types[n].c_name for n in sorted(types)]
    o += ['};', 'const size_t api_n_types = %d;' % len(types), '']
    o.append('const struct api_package api_packages[] = {')
    groups = [p for p in packages if p.group is not None]
    o += ['    { .name = %s, .group = %s, .version = %s },' % (c_str(p.name), c_str(p.group), c_str(p.version)) for p in groups]
    o += ['};', 'const size_t api_n_packages = %d;' % len(groups), '']
    lists = {}
    decl, rows = [], []

    def words(text):
        if not text:
            return 'no_words'
        if text not in lists:
            lists[text] = 'words_%d' % len(lists)
            decl.append('static const struct str %s[] = { %s, { 0 } };'
                        % (lists[text], ', '.join(c_str(v) for v in text.split(','))))
        return lists[text]
    # Columns are told once per group and kind, with the version that is served.
    columns = {}
    for p in packages:
        for r in p.resources:
            if r['columns']:
                columns[(p.group, r['kind'])] = r['columns']
    col_names = {}
    n = 0
    for p in packages:
        for r in p.resources:
            a = r['attrs']
            subs = 'no_subs'
            if r['subs']:
                subs = 'subs_%d' % n
                decl.append('static const struct api_subresource %s[] = {' % subs)
                for name, kind, verbs in r['subs']:
                    decl.append('    { .name = %s, .kind = %s, .verbs = %s },' % (c_str(name), c_str(kind), c_str(verbs)))
                decl += ['    { .name = { 0 } },', '};']
            key = (p.group, r['kind'])
            if key in columns and key not in col_names:
                col_names[key] = 'columns_%d' % n
                decl.append('static const struct api_column columns_%d[] = {' % n)
                for name, ty, ca in columns[key]:
                    decl.append('    { .name = %s, .type = %s, .format = %s, .priority = %s,\n      .description = %s },'
                                % (c_str(name), c_str(ty), c_str(ca.get('format', '')), ca.get('priority', '0'),
                                   c_str(ca.get('shows', ''))))
                decl.append('};')
            n += 1
            t = types.get(p.name + '.' + r['kind'])
            lt = types.get(p.name + '.' + r['kind'] + 'List')
            rows.append(
                '    { .group = %s, .version = %s, .resource = %s, .singular = %s, .kind = %s,\n'
                '      .namespaced = %s, .has_status = %s, .default_on = %s, .availability = %s,\n      .in_1_20 = %s,\n'
                '      .short_names = %s, .categories = %s, .verbs = %s, .subresources = %s,\n'
                '      .storage_version = %s, .etcd_prefix = %s, .since = %s,\n'
                '      .type = %s, .list_type = %s, .columns = %s, .n_columns = %d },'
                % (c_str(p.group), c_str(p.version), c_str(r['resource']), c_str(a.get('singular', '')), c_str(r['kind']),
                   str('namespaced' in a).lower(), str('status' in a).lower(),
                   str(not {'removed', 'off', 'external'} & set(a)).lower(), 'API_REMOVED' if 'removed' in a else 'API_OFF' if 'off' in a else 'API_EXTERNAL' if 'external' in a
                   else 'API_ON', str('in-1.20' in a).lower(),
                   words(a.get('short')), words(a.get('categories')), c_str(r['verbs']), subs,
                   c_str(a.get('storage')), c_str(a.get('prefix')), c_str(a.get('since')),
                   '&%s_type' % t.c_name if t else 'NULL', '&%s_type' % lt.c_name if lt else 'NULL',
                   col_names.get(key, 'NULL'), len(columns.get(key, []))))
    o += ['static const struct str no_words[] = { { 0 } };', 'static const struct api_subresource no_subs[] = { { .name = { 0 } } };']
    o += decl + ['', 'const struct api_resource api_resources[] = {'] + rows + ['};', 'const size_t api_n_resources = %d;' % n]
    return o


def write_gates(root):
    """The table of schema/feature-gates, sorted by name."""
    o = ['/* Generated by tools/gen-types.py from schema/feature-gates. */', '#include "api/gate.h"', '',
         'const struct api_gate api_gates[] = {']
    rows = []
    with open(os.path.join(root, 'feature-gates'), encoding='utf-8') as fh:
        for line in fh:
            if line.strip() and not line.startswith('#'):
                t = tokens(line)
                rows.append((t[0][0], t[1][0], t[2][0], {k: v for k, v in t[3:]}))
    for name, stage, on, attrs in sorted(rows):
        if on not in ('on', 'off'):
            raise SchemaError('feature gate %s is neither on nor off' % name)
        o.append('    { .name = %s, .stage = %s, .on = %s, .locked = %s, .defined_in = %s },'
                 % (c_str(name), c_str(stage.upper()), str(on == 'on').lower(), str('locked' in attrs).lower(),
                    c_str(attrs.get('in', ''))))
    o += ['};', 'const size_t api_n_gates = %d;' % len(rows)]
    return o


def file_names(packages):
    return [p.c_name + ext for p in packages for ext in ('.c', '.h')] + ['gates.c', 'index.c', 'index.h']


def main(argv):
    if len(argv) == 3 and argv[1] == '--list':
        print('\n'.join(file_names(load(argv[2]))))
        return 0
    if len(argv) != 3:
        sys.stderr.write(__doc__)
        return 2
    packages = load(argv[1])
    types = resolve(packages)
    with_defaults = closure(types, lambda t: bool(t.rules) or any({'default', 'fill', 'milli'} & set(f.attrs) for f in t.fields))
    out = {}
    gated = closure(types, lambda t: any('gate' in f.attrs for f in t.fields))
    out['gates.c'] = write_gates(argv[1])
    for p in packages:
        out[p.c_name + '.h'] = write_header(p, types)
        out[p.c_name + '.c'] = write_source(p, with_defaults, gated)
    out['index.h'] = write_index_header(packages)
    out['index.c'] = write_index_source(packages, types)
    for name, lines in out.items():
        with open(os.path.join(argv[2], name), 'w', encoding='utf-8') as fh:
            fh.write('\n'.join(lines) + '\n')
    return 0


if __name__ == '__main__':
    try:
        sys.exit(main(sys.argv))
    except SchemaError as e:
        sys.stderr.write('gen-types: %s\n' % e)
        sys.exit(1)
