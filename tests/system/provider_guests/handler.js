// A guest that uses every service of the host application and one that only the operator knows. Its twin is app.py.

import * as clients from 'alga:extension/clients';
import * as crm from 'alga:extension/crm';
import * as invoicing from 'alga:extension/invoicing';
import * as logging from 'alga:extension/logging';
import * as services from 'alga:extension/services';
import {
  HostError,
  Router,
  bindHost,
  bindProvider,
  createHandler,
  jsonResponse,
} from '../vendor/extension-runtime/src/index.js';

const contacts = bindProvider('crm', crm);

function told(call) {
  try {
    return jsonResponse({ value: call() });
  } catch (error) {
    if (!(error instanceof HostError)) throw error;
    return jsonResponse({ interface: error.interface, error: error.code });
  }
}

function wanted(request) {
  const page = request.query.get('page');
  return {
    search: request.query.get('search'),
    includeInactive: request.query.has('all') || undefined,
    page: page === null ? undefined : Number(page),
  };
}

const router = new Router({
  '/clients': { GET: (request, host) => told(() => host.clients.list(wanted(request))) },
  '/clients/:id': { GET: (request, host) => told(() => host.clients.get(request.params.id)) },
  '/services': { GET: (request, host) => told(() => host.services.list({ itemKind: request.query.get('kind') })) },
  '/services/:id': { GET: (request, host) => told(() => host.services.get(request.params.id)) },
  '/invoices': { POST: (request, host) => told(() => host.invoicing.createManualInvoice(request.json())) },
  '/contacts': { GET: (request) => told(() => contacts.findContacts(request.query.get('search'), 10)) },
  '/contacts/:id': {
    GET: (request) => told(() => contacts.getContact(request.params.id)),
    DELETE: (request) => told(() => contacts.forget(request.params.id) ?? 'forgotten'),
  },
});

export const handler = createHandler(router, bindHost({ clients, invoicing, logging, services }));
