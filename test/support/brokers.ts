import { ServiceBroker, type ServiceSchema } from "moleculer";
import { ContractValidator } from "../../lib/contract/validator";

/** Brackets a silent broker of its own process with these services and our validator. */
export async function withBroker<T>(
  services: readonly ServiceSchema[],
  work: (broker: ServiceBroker) => Promise<T>,
): Promise<T> {
  const broker = new ServiceBroker({
    logger: false,
    validator: new ContractValidator(),
    skipProcessEventRegistration: true,
  });
  for (const service of services) broker.createService(service);
  await broker.start();
  try {
    return await work(broker);
  } finally {
    await broker.stop();
  }
}
