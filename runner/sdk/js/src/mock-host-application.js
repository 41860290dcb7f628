// Services of the host application for tests: lists as data, filtered and paged as a host application does; without any,
// every call is refused as it is without the grant.

const PAGE_SIZE = 25;
const INVOICE = ['invoiceId', 'invoiceNumber', 'status', 'subtotal', 'tax', 'total', 'error', 'fieldErrors'];
const CLIENT = ['clientType', 'defaultCurrencyCode', 'accountManagerId', 'accountManagerName', 'billingEmail'];
const SERVICE = ['serviceTypeId', 'serviceTypeName', 'sku'];

/** The modules of `invoicing`, `clients` and `services`. */
export function mockHostApplication({ clients, services }, refuse) {
  return {
    invoicing: {
      createManualInvoice: () =>
        complete({ success: false, error: 'cap:invoice.manual.create is not granted to this install' }, INVOICE),
    },
    clients: mockClients(clients, refuse),
    services: mockServices(services, refuse),
  };
}

function mockClients(given, refuse) {
  if (given === undefined) return { listClients: refuse, getClient: refuse };
  const held = given.map((one) => complete(one, CLIENT));
  return {
    listClients: (wanted) =>
      page(wanted, held, (one) => {
        const shown = wanted.includeInactive || !one.isInactive;
        return shown && matches(one.clientName, wanted.search);
      }),
    getClient: (id) => held.find((one) => one.clientId === id),
  };
}

function mockServices(given, refuse) {
  if (given === undefined) return { listServices: refuse, getService: refuse };
  const held = given.map((one) => complete(one, SERVICE));
  const alike = (one, wanted) =>
    ['itemKind', 'billingMethod', 'isActive'].every((name) => (wanted[name] ?? one[name]) === one[name]);
  return {
    listServices: (wanted) =>
      page(wanted, held, (one) => alike(one, wanted) && matches(one.serviceName, wanted.search)),
    getService: (id) => held.find((one) => one.serviceId === id),
  };
}

// The record with what was left out, as the border has it.
function complete(record, optional) {
  return { ...Object.fromEntries(optional.map((name) => [name, undefined])), ...record };
}

function matches(name, search) {
  return name.toLowerCase().includes((search ?? '').toLowerCase());
}

function page(wanted, held, shown) {
  const found = held.filter(shown);
  const [number, pageSize] = [wanted.page ?? 1, wanted.pageSize ?? PAGE_SIZE];
  const items = found.slice((number - 1) * pageSize, number * pageSize);
  return { items, totalCount: found.length, page: number, pageSize };
}
