import { DataTypes, type Sequelize } from "sequelize";

export const NOTIFICATIONS_TABLE = "notifications";

/** The table notifications, as migrations 0005 and 0020 make it. */
export function defineNotification(sequelize: Sequelize) {
  return sequelize.define(NOTIFICATIONS_TABLE, {
    id: { type: DataTypes.UUID, primaryKey: true },
    userId: { type: DataTypes.UUID, allowNull: false },
    occurrenceId: { type: DataTypes.UUID, allowNull: false },
    type: { type: DataTypes.TEXT, allowNull: false },
    title: { type: DataTypes.TEXT, allowNull: false },
    body: { type: DataTypes.TEXT, allowNull: false },
    data: { type: DataTypes.JSONB, allowNull: false },
    eventId: DataTypes.UUID,
    isRead: { type: DataTypes.BOOLEAN, allowNull: false, defaultValue: false },
    hidden: { type: DataTypes.BOOLEAN, allowNull: false, defaultValue: false },
    createdAt: { type: DataTypes.DATE(3), allowNull: false },
  });
}
