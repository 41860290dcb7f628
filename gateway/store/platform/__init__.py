"""platform: statements that cross tenants. They run as the second login, with policies of their own, verb by verb."""
