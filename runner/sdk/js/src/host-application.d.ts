// Types of the host application's reference services. Capabilities `cap:invoice.manual.create`, `cap:client.read`,
// `cap:service.read`; a project that declares one has its interface in its world.

export type DiscountType = 'percentage' | 'fixed';
export type ServiceItemKind = 'service' | 'product';
export type ServiceBillingMethod = 'fixed' | 'hourly' | 'usage';

export interface ManualInvoiceItemInput {
  serviceId: string;
  quantity: number;
  description: string;
  rate: number;
  isDiscount?: boolean | null;
  discountType?: DiscountType | null;
  appliesToItemId?: string | null;
  appliesToServiceId?: string | null;
}

/** Dates are ISO 8601 (`2026-01-31`). */
export interface CreateManualInvoiceInput {
  clientId: string;
  items: Iterable<ManualInvoiceItemInput>;
  invoiceDate?: string | null;
  dueDate?: string | null;
  poNumber?: string | null;
}

/** A refusal is in here: `success` is false, `error` says why, `fieldErrors` is a JSON object from field to message. */
export interface CreateManualInvoiceResult {
  success: boolean;
  invoiceId?: string | null;
  invoiceNumber?: string | null;
  status?: string | null;
  subtotal?: number | null;
  tax?: number | null;
  total?: number | null;
  error?: string | null;
  fieldErrors?: string | null;
}

export interface ClientSummary {
  clientId: string;
  clientName: string;
  clientType?: string | null;
  isInactive: boolean;
  defaultCurrencyCode?: string | null;
  accountManagerId?: string | null;
  accountManagerName?: string | null;
  billingEmail?: string | null;
}

/** Pages are counted from 1. */
export interface ClientsListInput {
  search?: string | null;
  includeInactive?: boolean | null;
  page?: number | null;
  pageSize?: number | null;
}

export interface ClientsListResult {
  items: ClientSummary[];
  totalCount: number;
  page: number;
  pageSize: number;
}

export interface ServiceSummary {
  serviceId: string;
  serviceName: string;
  itemKind: ServiceItemKind;
  billingMethod: ServiceBillingMethod;
  serviceTypeId?: string | null;
  serviceTypeName?: string | null;
  defaultRate: number;
  unitOfMeasure: string;
  isActive: boolean;
  sku?: string | null;
}

/** Pages are counted from 1. */
export interface ServicesListInput {
  search?: string | null;
  itemKind?: ServiceItemKind | null;
  isActive?: boolean | null;
  billingMethod?: ServiceBillingMethod | null;
  page?: number | null;
  pageSize?: number | null;
}

export interface ServicesListResult {
  items: ServiceSummary[];
  totalCount: number;
  page: number;
  pageSize: number;
}

export interface Invoicing {
  createManualInvoice(input: CreateManualInvoiceInput): CreateManualInvoiceResult;
}

type ListClients = (input?: ClientsListInput) => ClientsListResult;
type GetClient = (clientId: string) => ClientSummary | null;

/** Codes: `not-allowed`, `invalid-input`, `internal`. A client user is shown its own client. */
export interface Clients {
  listClients: ListClients;
  getClient: GetClient;
  list: ListClients;
  get: GetClient;
}

type ListServices = (input?: ServicesListInput) => ServicesListResult;
type GetService = (serviceId: string) => ServiceSummary | null;

/** Codes: `not-allowed`, `invalid-input`, `internal`. */
export interface Services {
  listServices: ListServices;
  getService: GetService;
  list: ListServices;
  get: GetService;
}
