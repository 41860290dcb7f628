// Services of the host application: checked arguments, the same values on each engine, and stand-ins for tests.

import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as runtime from '../../../../runner/sdk/js/src/index.js';

const { HostError, bindHost, bindProvider, createMockHostBindings } = runtime;
const code = (wanted) => (error) => error instanceof HostError && error.code === wanted;

const CLIENTS = [
  { clientId: 'c-1', clientName: 'Initech', isInactive: false, billingEmail: 'bill@initech.example' },
  { clientId: 'c-2', clientName: 'Hooli', isInactive: true },
];
const SERVICES = [
  {
    serviceId: 's-1',
    serviceName: 'Support',
    itemKind: 'service',
    billingMethod: 'hourly',
    defaultRate: 120.5,
    unitOfMeasure: 'hour',
    isActive: true,
  },
];
const ITEM = { serviceId: 's-1', quantity: 2, description: 'Support', rate: 100 };

function recording(answer) {
  const asked = [];
  const module = new Proxy(
    {},
    {
      get: (_target, name) =>
        typeof name === 'string' &&
        ((...given) => {
          asked.push([name, ...given]);
          return answer;
        }),
    },
  );
  return { asked, module };
}

test('without data every service is refused as it is without the grant', () => {
  const host = createMockHostBindings();
  assert.throws(() => host.clients.list(), code('not-allowed'));
  assert.throws(() => host.clients.get('c-1'), code('not-allowed'));
  assert.throws(() => host.services.listServices({}), code('not-allowed'));
  assert.throws(() => host.services.getService('s-1'), code('not-allowed'));
  const refused = host.invoicing.createManualInvoice({ clientId: 'c-1', items: [ITEM] });
  assert.equal(refused.success, false);
  assert.match(refused.error, /cap:invoice\.manual\.create/);
  assert.equal(refused.invoiceId, null);
});

test('lists stand for clients and services, filtered and paged', () => {
  const { clients, services } = createMockHostBindings({ clients: CLIENTS, services: SERVICES });
  assert.deepEqual(clients.list().items.map((one) => one.clientId), ['c-1']);
  assert.equal(clients.list({ includeInactive: true }).totalCount, 2);
  assert.deepEqual(clients.list({ includeInactive: true, page: 2, pageSize: 1 }).items[0].clientName, 'Hooli');
  assert.equal(clients.list({ search: 'INI' }).items[0].billingEmail, 'bill@initech.example');
  assert.equal(clients.get('c-2').billingEmail, null);
  assert.equal(clients.get('c-9'), null);
  assert.equal(services.get('s-1').sku, null);
  assert.equal(services.list({ itemKind: 'product' }).totalCount, 0);
  assert.equal(services.list({ isActive: true, billingMethod: 'hourly' }).totalCount, 1);
});

test('functions of a test stand for those of a service', () => {
  const host = createMockHostBindings({ invoicing: { createManualInvoice: () => ({ success: true }) } });
  assert.equal(host.invoicing.createManualInvoice({}).success, true);
});

test('what is left out crosses as undefined, and a wrong type does not cross', () => {
  const { asked, module } = recording({ success: true, invoiceId: undefined });
  const { invoicing, clients, services } = bindHost({ invoicing: module, clients: module, services: module });
  const invoice = { clientId: 'c-1', items: [ITEM], dueDate: null };
  assert.deepEqual(invoicing.createManualInvoice(invoice), { success: true, invoiceId: null });
  const [, sent] = asked.pop();
  assert.deepEqual(Object.keys(sent), ['clientId', 'items', 'invoiceDate', 'dueDate', 'poNumber']);
  assert.deepEqual([sent.dueDate, sent.items[0].isDiscount, sent.items[0].rate], [undefined, undefined, 100]);
  for (const wrong of [
    () => invoicing.createManualInvoice({ items: [] }),
    () => invoicing.createManualInvoice({ clientId: 'c' }),
    () => invoicing.createManualInvoice({ clientId: 'c', items: [{ ...ITEM, rate: '1' }] }),
    () => invoicing.createManualInvoice({ clientId: 'c', items: [{ ...ITEM, discountType: 'free' }] }),
    () => clients.get(7),
    () => clients.list({ page: -1 }),
    () => clients.list({ pageSize: 2 ** 32 }),
    () => clients.list({ page: 1.5 }),
    () => clients.list({ includeInactive: 'yes' }),
    () => services.list({ itemKind: 'thing' }),
  ]) {
    assert.throws(wrong, TypeError);
  }
  assert.deepEqual(asked, []);
});

test('an error of a service is a HostError with its case', () => {
  const refusing = () => {
    throw Object.assign(new Error(), { payload: 'invalid-input' });
  };
  const { clients } = bindHost({ clients: { listClients: refusing, getClient: refusing } });
  assert.throws(() => clients.list(), (error) => error.interface === 'clients' && error.code === 'invalid-input');
});

test('a service that the world lacks is an error that names it', () => {
  assert.throws(() => bindHost({}).clients, /alga:extension\/clients/);
});

test('any other service is bound as its module has it', () => {
  const crm = bindProvider('crm', {
    findContacts: (text, atMost) => [{ text, atMost, score: 7n, note: undefined }],
    forget: () => {
      throw Object.assign(new Error(), { payload: 'not-found' });
    },
    VERSION: 1,
  });
  assert.deepEqual(crm.findContacts('a', 3), [{ text: 'a', atMost: 3, score: 7, note: null }]);
  assert.throws(() => crm.forget('x'), (error) => error.interface === 'crm' && error.code === 'not-found');
  assert.equal(crm.VERSION, undefined);
  let given;
  bindProvider('x', { say: (value) => void (given = value) }).say({ a: null, b: ['\ud800'], c: Uint8Array.of(1) });
  assert.deepEqual(given, { a: undefined, b: ['\ufffd'], c: Uint8Array.of(1) });
});
