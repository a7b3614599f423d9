// Draws the picture of the cluster, and keeps picture and table up to date. Everything that comes from the cluster is set as text.
'use strict';
(() => {
  const marks = { safe: '\u2713 safe', local: '\u25cb local', unused: '\u2013 unused', unsafe: '\u2717 unsafe' };
  const svgNS = 'http://www.w3.org/2000/svg';
  const byId = (id) => document.getElementById(id);
  let chosen = null;

  function make(name, attributes, text) {
    const e = document.createElement(name);
    for (const k of Object.keys(attributes || {})) { e.setAttribute(k, attributes[k]); }
    if (text !== undefined) { e.textContent = text; }
    return e;
  }
  function draw(name, attributes, text) {
    const e = document.createElementNS(svgNS, name);
    for (const k of Object.keys(attributes || {})) { e.setAttribute(k, attributes[k]); }
    if (text !== undefined) { e.textContent = text; }
    return e;
  }
  const title = (end) => (end.node ? end.name + ' on ' + end.node : end.name);
  const key = (p) => [p.id, title(p.from), title(p.to), p.address || '', p.authentication || ''].join('|');
  function size(n) {
    const units = ['B', 'KB', 'MB', 'GB', 'TB'];
    let i = 0;
    while (n >= 1000 && i < 4) { n /= 1000; i++; }
    return (i && n < 10 ? n.toFixed(1) : Math.round(n)) + ' ' + units[i];
  }
  const cut = (s, n) => (s.length > n ? s.slice(0, n - 1) + '\u2026' : s);
  function transport(p) {
    const t = p.transport === 'tls' ? (p.tls || 'TLS') : p.transport === 'unix' ? 'unix socket' : p.transport === 'ssh' ? 'SSH' : p.transport === 'plain' ? 'plain' : '';
    return [t, p.http].filter(Boolean).join(' ');
  }
  const why = (p) => [p.reason, p.warning && 'note: ' + p.warning].filter(Boolean).join('; ');

  // ---- the facts of one path ----
  function show(p) {
    const facts = byId('facts');
    facts.replaceChildren(make('h3', {}, title(p.from) + ' \u2192 ' + title(p.to) + ': ' + p.purpose));
    const verdict = make('p', { class: 'mark ' + p.verdict }, marks[p.verdict]);
    verdict.style.margin = '0';
    facts.append(verdict, make('div', {}, why(p)));
    const list = make('dl');
    const certificate = (c) => c && c.subject + (c.notAfter ? ', until ' + c.notAfter : '');
    const rows = [['Mend', p.mend], ['Address', p.address], ['Transport', [transport(p), p.cipher].filter(Boolean).join(', ')],
      ['Client is known by', p.authentication], ['Authorised by', p.authorization], ['Server\u2019s certificate', p.server],
      ['Server', certificate(p.serverCertificate)], ['Client', certificate(p.clientCertificate)],
      ['Connections', p.openConnections + ' open, ' + p.connections + ' in all' + (p.failedConnections ? ', ' + p.failedConnections + ' failed' : '')],
      ['Bytes', size(p.bytesSent) + ' there, ' + size(p.bytesReceived) + ' back'], ['Last error', p.lastError], ['Seen by', p.seenBy]];
    for (const [name, value] of rows) {
      if (value) { list.append(make('dt', {}, name), make('dd', {}, value)); }
    }
    facts.append(list);
  }
  function choose(p, scroll) {
    chosen = key(p);
    show(p);
    for (const e of document.querySelectorAll('[data-key]')) { e.classList.toggle('chosen', e.dataset.key === chosen); }
    const row = document.querySelector('tr.chosen');
    if (scroll && row) { row.scrollIntoView({ block: 'center' }); row.focus(); }
  }

  // ---- the table ----
  function table(data) {
    const body = byId('rows');
    const had = document.activeElement && document.activeElement.dataset ? document.activeElement.dataset.key : null;
    const inTable = had && body.contains(document.activeElement);
    body.replaceChildren();
    let section = null;
    for (const p of data.paths) {
      if (p.section !== section) {
        section = p.section;
        const tr = make('tr', { class: 'section' });
        tr.append(make('th', { colspan: 7, scope: 'colgroup' }, section));
        body.append(tr);
      }
      const tr = make('tr', { 'data-key': key(p), tabindex: -1 });
      const cell = (text, dim, cls) => {
        const td = make('td', cls ? { class: cls } : {}, text || '');
        if (dim) { td.append(make('div', { class: 'dim' }, dim)); }
        tr.append(td);
        return td;
      };
      const first = make('td');
      first.append(make('span', { class: 'mark ' + p.verdict }, marks[p.verdict]));
      tr.append(first);
      cell(title(p.from) + ' \u2192 ' + title(p.to), p.purpose, 'long');
      cell(p.address, transport(p));
      cell(p.authentication, p.authorization);
      const c = p.serverCertificate || p.clientCertificate;
      cell(c && c.subject, c && c.notAfter && 'until ' + c.notAfter.slice(0, 10), 'long');
      cell(p.openConnections + ' / ' + p.connections, size(p.bytesSent) + ' / ' + size(p.bytesReceived));
      const last = cell(why(p), null, 'long');
      if (p.mend && (p.verdict === 'unsafe' || p.verdict === 'unused')) { last.append(make('div', {}), make('code', {}, p.mend)); }
      tr.addEventListener('click', () => choose(p, false));
      body.append(tr);
      if (key(p) === chosen) { tr.classList.add('chosen'); }
      if (inTable && had === tr.dataset.key) { tr.focus(); }
    }
  }

  // ---- the picture: the API server in the middle, clients on its left, the other programs on its right ----
  const slot = 26, gap = 14;
  function layout(data) {
    const left = new Map(), groups = new Map();
    const master = /^(kube-controller-manager|cloud-controller-manager|kube-scheduler|etcd|tunnel|kubelet|kube-proxy)$/;
    const program = (end) => {
      const g = end.node || (master.test(end.name) ? '' : null);
      const group = g === null ? '~' : g;
      if (!groups.has(group)) { groups.set(group, new Map()); }
      const boxes = groups.get(group);
      if (!boxes.has(end.name)) { boxes.set(end.name, { name: end.name, left: [], right: [] }); }
      return boxes.get(end.name);
    };
    const isApi = (end) => end.name === 'kube-apiserver';
    const inCluster = (end) => Boolean(end.node) || master.test(end.name);
    for (const p of data.paths) {
      if (isApi(p.from) || isApi(p.to)) {
        const other = isApi(p.from) ? p.to : p.from;
        if (isApi(other)) { continue; }
        if (inCluster(other) || isApi(p.from)) {
          program(other).left.push(p);
        } else {
          if (!left.has(other.name)) { left.set(other.name, []); }
          left.get(other.name).push(p);
        }
      } else {
        const listening = !inCluster(p.from) || (p.to.node && !p.from.node);
        const owner = listening ? p.to : p.from;
        program(owner).right.push(p);
      }
    }
    return { left, groups };
  }

  const maxNodes = 12;
  function picture(data) {
    const { left, groups } = layout(data);
    const svg = draw('svg', { role: 'group', 'aria-label': 'Picture of the cluster: every path between its programs, coloured by verdict' });
    const box = (x, y, w, h, name, note) => {
      svg.append(draw('rect', { class: 'box', x, y, width: w, height: h, rx: 6 }));
      svg.append(draw('text', { x: x + 10, y: y + (note ? h / 2 - 3 : h / 2 + 4) }, cut(name, Math.floor(w / 7.5))));
      if (note) { svg.append(draw('text', { class: 'small', x: x + 10, y: y + h / 2 + 13 }, note)); }
    };
    const edge = (p, x1, x2, y, text) => {
      const g = draw('g', { class: 'edge ' + p.verdict, 'data-key': key(p), tabindex: 0, role: 'button',
        'aria-label': title(p.from) + ' to ' + title(p.to) + ', ' + p.purpose + ': ' + p.verdict + (p.reason ? ', ' + p.reason : '') });
      g.classList.add('mark');
      g.append(draw('title', {}, title(p.from) + ' \u2192 ' + title(p.to) + ': ' + p.purpose + ' (' + p.verdict + ')'));
      g.append(draw('line', { class: 'hit', x1, x2, y1: y, y2: y }));
      const d = x2 > x1 ? 1 : -1;
      g.append(draw('line', { class: 'seen', x1, x2: x2 - 8 * d, y1: y, y2: y }));
      g.append(draw('path', { d: 'M' + x2 + ' ' + y + ' l' + (-10 * d) + ' -5 v10 z' }));
      if (text) { g.append(draw('text', { class: 'small', x: Math.min(x1, x2) + 10, y: y - 5 }, cut(text, 34))); }
      g.addEventListener('mouseenter', () => show(p));
      g.addEventListener('focus', () => show(p));
      g.addEventListener('click', () => choose(p, false));
      g.addEventListener('keydown', (e) => {
        if (e.key === 'Enter' || e.key === ' ') { e.preventDefault(); choose(p, true); }
      });
      if (key(p) === chosen) { g.classList.add('chosen'); }
      svg.append(g);
    };
    const X = { client: 14, clientW: 150, api: 400, apiW: 150, prog: 800, progW: 190, end: 1250 };
    const label = (p) => [transport(p), p.authentication].filter(Boolean).join(', ');
    let y = 16;
    const top = y, later = [];
    for (const [name, paths] of left) {
      const h = Math.max(paths.length * slot, 30);
      box(X.client, y, X.clientW, h, name);
      paths.forEach((p, i) => { const at = y + (i + 0.5) * h / paths.length; later.push(() => edge(p, X.client + X.clientW, X.api, at, label(p))); });
      y += h + gap;
    }
    const leftEnd = y;
    y = top;
    const names = [...groups.keys()].sort();
    for (const g of names.filter((n, i) => n === '~' || i <= maxNodes)) {
      const from = y;
      y += 22;
      for (const b of groups.get(g).values()) {
        const n = Math.max(b.left.length, b.right.length, 1), h = Math.max(n * slot, 34);
        box(X.prog, y, X.progW, h, b.name);
        b.left.forEach((p, i) => {
          const at = y + (i + 0.5) * h / b.left.length, out = p.from.name === 'kube-apiserver';
          later.push(() => edge(p, out ? X.api + X.apiW : X.prog, out ? X.prog : X.api + X.apiW, at, label(p)));
        });
        b.right.forEach((p, i) => {
          const at = y + (i + 0.5) * h / b.right.length, inward = p.to.name === b.name && p.from.name !== b.name;
          const other = inward ? p.from.name : title(p.to);
          later.push(() => {
            edge(p, inward ? X.end : X.prog + X.progW, inward ? X.prog + X.progW : X.end, at, [p.address, transport(p)].filter(Boolean).join(', '));
            svg.append(draw('text', { x: X.end + 10, y: at + 4 }, cut(other, 26)));
          });
        });
        y += h + 8;
      }
      svg.append(draw('rect', { class: 'group', x: X.prog - 14, y: from, width: X.progW + 28, height: y - from, rx: 8 }));
      svg.append(draw('text', { class: 'small', x: X.prog - 4, y: from + 15 }, g === '~' ? 'elsewhere' : g ? 'node ' + cut(g, 26) : 'beside the API server'));
      y += gap;
    }
    if (names.length > maxNodes + 1) {
      svg.append(draw('text', { x: X.prog, y: y + 10 }, (names.length - maxNodes - 1) + ' more nodes are in the table'));
      y += 26;
    }
    const height = Math.max(y, leftEnd, 120);
    box(X.api, top, X.apiW, height - top - gap, 'kube-apiserver');
    for (const f of later) { f(); }
    svg.setAttribute('viewBox', '0 0 1460 ' + height);
    const holder = byId('picture');
    const had = holder.contains(document.activeElement) ? document.activeElement.dataset.key : null;
    holder.replaceChildren(svg);
    if (had) {
      const again = [...holder.querySelectorAll('.edge')].find((e) => e.dataset.key === had);
      if (again) { again.focus(); }
    }
  }

  function summary(data) {
    const s = data.summary, v = byId('verdict');
    const n = s.unsafe + s.unsafeFlags;
    v.className = 'mark ' + (data.unsafe ? 'unsafe' : 'safe');
    v.textContent = data.unsafe ? marks.unsafe + ': ' + n + (n === 1 ? ' finding' : ' findings') : marks.safe + ' on an untrusted network';
    byId('time').textContent = data.time;
    for (const k of ['safe', 'local', 'unused', 'unsafe']) { byId('n-' + k).textContent = s[k]; }
  }

  let last = '';
  function render(data) {
    const shape = JSON.stringify(data.paths.map((p) => [key(p), p.verdict, transport(p)]));
    summary(data);
    table(data);
    if (shape !== last) { picture(data); last = shape; }
  }

  render(JSON.parse(byId('data').textContent));
  const live = byId('live');
  const events = new EventSource(location.pathname + '?watch=true');
  events.onopen = () => { live.textContent = 'live'; };
  events.onmessage = (e) => { render(JSON.parse(e.data)); document.body.dataset.updates = Number(document.body.dataset.updates || 0) + 1; };
  events.onerror = () => { live.textContent = 'not connected; tries again'; };
})();
