// Prints what Node makes of each name: by the system's resolver (`lookup`), or by its own (`resolve4`, `resolveSrv`).
const { promises: dns } = require('dns');

const ways = {
  lookup: async (name) => (await dns.lookup(name, { all: true })).map((one) => one.address),
  resolve4: (name) => dns.resolve4(name),
  resolveSrv: async (name) =>
    (await dns.resolveSrv(name)).map((s) => [s.priority, s.weight, s.port, `${s.name}.`].join('/')),
};

(async () => {
  const [way, ...names] = process.argv.slice(2);
  for (const name of names) {
    const found = await ways[way](name).catch((e) => {
      if (e.code === 'ENOTFOUND' || e.code === 'ENODATA') return [];
      throw e;
    });
    console.log([name, ...found].join(' '));
  }
})();
