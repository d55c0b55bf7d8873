// npm's `consul` as it is: registers, is found, waits for a change. Arguments: the API's port, the instance's port.
const Consul = require('consul');

const [api, port] = process.argv.slice(2).map(Number);

async function main() {
  const consul = new Consul({ host: '127.0.0.1', port: api });
  const told = {};
  await consul.agent.service.register({
    name: 'js', id: 'js-1', address: '127.0.0.1', port, tags: ['v1'], meta: { team: 'shop' },
    check: { ttl: '1h', status: 'passing' },
  });
  told.services = Object.keys(await consul.agent.services());
  const well = async () => (await consul.health.service({ service: 'js', passing: true })).map((e) => e.Service.ID);
  told.passing = await well();
  told.tags = (await consul.catalog.service.list()).js;
  told.port = (await consul.catalog.service.nodes('js'))[0].ServicePort;
  told.datacenters = await consul.catalog.datacenters();
  told.node = (await consul.agent.self()).Config.NodeName;

  // A watch hears of the change that comes after it began.
  const watch = consul.watch({ method: consul.health.service, options: { service: 'js', passing: true } });
  const sizes = [];
  const changed = new Promise((done, failed) => {
    watch.on('change', (entries) => {
      sizes.push(entries.length);
      if (sizes.length === 1) consul.agent.check.fail('service:js-1').catch(failed);
      if (entries.length === 0) done();
    });
    watch.on('error', failed);
  });
  await changed;
  watch.end();
  told.watched = sizes;

  await consul.agent.check.pass('service:js-1');
  told.again = await well();
  await consul.agent.service.maintenance({ id: 'js-1', enable: true, reason: 'repair' });
  told.maintained = await well();
  await consul.agent.service.maintenance({ id: 'js-1', enable: false });
  await consul.kv.set('greeting', 'hello');
  told.kv = (await consul.kv.get('greeting')).Value;
  await consul.agent.service.deregister('js-1');
  told.gone = await well();
  console.log(JSON.stringify(told));
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
