import { DataTypes, type Sequelize } from "sequelize";

export const BOOKINGS_TABLE = "bookings";
export const TICKETS_TABLE = "tickets";

/** The tables bookings and tickets, as migration 0004 makes them. */
export function defineBookings(sequelize: Sequelize) {
  const bookings = sequelize.define(BOOKINGS_TABLE, {
    id: { type: DataTypes.UUID, primaryKey: true },
    eventId: { type: DataTypes.UUID, allowNull: false },
    userId: { type: DataTypes.UUID, allowNull: false },
    hostId: { type: DataTypes.UUID, allowNull: false },
    quantity: { type: DataTypes.INTEGER, allowNull: false },
    status: { type: DataTypes.TEXT, allowNull: false },
    amount: { type: DataTypes.BIGINT, allowNull: false },
    currency: DataTypes.TEXT,
    holdExpiresAt: DataTypes.DATE(3),
    cancelReason: DataTypes.TEXT,
    createdAt: { type: DataTypes.DATE(3), allowNull: false },
    updatedAt: { type: DataTypes.DATE(3), allowNull: false },
  });
  const tickets = sequelize.define(TICKETS_TABLE, {
    id: { type: DataTypes.UUID, primaryKey: true },
    bookingId: { type: DataTypes.UUID, allowNull: false },
    code: { type: DataTypes.TEXT, allowNull: false },
    status: { type: DataTypes.TEXT, allowNull: false },
    createdAt: { type: DataTypes.DATE(3), allowNull: false },
  });
  return { bookings, tickets };
}
