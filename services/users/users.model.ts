import { DataTypes, type Sequelize } from "sequelize";

export const USERS_TABLE = "users";

/** The table users, as migration 0001 makes it. */
export function defineUser(sequelize: Sequelize) {
  return sequelize.define(USERS_TABLE, {
    id: { type: DataTypes.UUID, primaryKey: true },
    name: { type: DataTypes.TEXT, allowNull: false },
    username: DataTypes.TEXT,
    email: DataTypes.TEXT,
    phone: DataTypes.TEXT,
    role: { type: DataTypes.TEXT, allowNull: false },
    emailVerified: { type: DataTypes.BOOLEAN, allowNull: false, defaultValue: false },
    passwordHash: DataTypes.TEXT,
    createdAt: { type: DataTypes.DATE(3), allowNull: false },
    updatedAt: { type: DataTypes.DATE(3), allowNull: false },
    deletedAt: DataTypes.DATE(3),
  });
}
