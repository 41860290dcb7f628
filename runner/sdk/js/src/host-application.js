// Services of the host application: the reference ones with checked arguments, and any other as its module has it.

import { flag, number, optionalText, text, whole } from './arguments.js';

const DISCOUNTS = ['percentage', 'fixed'];
const KINDS = ['service', 'product'];
const METHODS = ['fixed', 'hourly', 'usage'];

function choice(value, options, what) {
  if (value === undefined || value === null) return undefined;
  if (!options.includes(value)) throw new TypeError(`${what} must be one of ${options.join(', ')}`);
  return value;
}

export function bindInvoicing(module, run) {
  const item = (given) => ({
    serviceId: text(given.serviceId, 'serviceId'),
    quantity: number(given.quantity, 'quantity'),
    description: text(given.description, 'description'),
    rate: number(given.rate, 'rate'),
    isDiscount: flag(given.isDiscount, 'isDiscount'),
    discountType: choice(given.discountType, DISCOUNTS, 'discountType'),
    appliesToItemId: optionalText(given.appliesToItemId, 'appliesToItemId'),
    appliesToServiceId: optionalText(given.appliesToServiceId, 'appliesToServiceId'),
  });
  const createManualInvoice = (given) => {
    const wanted = {
      clientId: text(given.clientId, 'clientId'),
      items: Array.from(given.items, item),
      invoiceDate: optionalText(given.invoiceDate, 'invoiceDate'),
      dueDate: optionalText(given.dueDate, 'dueDate'),
      poNumber: optionalText(given.poNumber, 'poNumber'),
    };
    return run(() => module.createManualInvoice(wanted));
  };
  return { createManualInvoice };
}

export function bindClients(module, run) {
  const listClients = (wanted = {}) => {
    const input = {
      search: optionalText(wanted.search, 'search'),
      includeInactive: flag(wanted.includeInactive, 'includeInactive'),
      page: whole(wanted.page, 'page'),
      pageSize: whole(wanted.pageSize, 'pageSize'),
    };
    return run(() => module.listClients(input));
  };
  const getClient = (id) => run(() => module.getClient(text(id, 'an id')));
  return { listClients, getClient, list: listClients, get: getClient };
}

export function bindServices(module, run) {
  const listServices = (wanted = {}) => {
    const input = {
      search: optionalText(wanted.search, 'search'),
      itemKind: choice(wanted.itemKind, KINDS, 'itemKind'),
      isActive: flag(wanted.isActive, 'isActive'),
      billingMethod: choice(wanted.billingMethod, METHODS, 'billingMethod'),
      page: whole(wanted.page, 'page'),
      pageSize: whole(wanted.pageSize, 'pageSize'),
    };
    return run(() => module.listServices(input));
  };
  const getService = (id) => run(() => module.getService(text(id, 'an id')));
  return { listServices, getService, list: listServices, get: getService };
}

/** The functions of any other service, which knows its own arguments: `null` is taken for what is left out. */
export function bindFunctions(module, run) {
  const bound = {};
  for (const [name, called] of Object.entries(module)) {
    if (typeof called === 'function') bound[name] = (...given) => run(() => called(...given.map(sayable)));
  }
  return bound;
}

function sayable(value) {
  if (value === null) return undefined;
  if (typeof value === 'string') return value.toWellFormed();
  if (typeof value !== 'object' || ArrayBuffer.isView(value)) return value;
  if (Array.isArray(value)) return value.map(sayable);
  return Object.fromEntries(Object.entries(value).map(([name, held]) => [name, sayable(held)]));
}
