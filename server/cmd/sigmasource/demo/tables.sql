-- The warehouse of a made-up coffee company, in DuckDB's SQL. Every value
-- follows from the row's number, so each start shows the same rows.
create schema if not exists ACME.SALES;
create schema if not exists ACME.PRODUCT;
create schema if not exists ACME.SUPPORT;

create table ACME.SALES.CUSTOMERS as
select
  9007199254740000 + i as CUSTOMER_ID,
  ['Ada', 'Émile', 'Søren', 'Zoë', 'Noor', 'Łukasz', 'Mei', 'Iris', 'Tomás', 'Yuki'][1 + i % 10] || ' '
    || ['Lovelace', 'Müller', 'O''Neill', 'García', 'Ōno', 'van Dijk', 'Nowak', 'Smith', 'Rossi', '李'][1 + (i * 7) % 10] as FULL_NAME,
  case when i % 17 = 0 then null else 'customer' || i || '@example.com' end as EMAIL,
  ['Free', 'Team', 'Business', 'Enterprise'][1 + (i * 3) % 4] as PLAN,
  ['DE', 'FR', 'JP', 'US', 'BR', 'IN'][1 + (i * 5) % 6] as COUNTRY,
  date '2019-01-01' + cast((i * 13) % 2200 as integer) as SIGNED_UP,
  cast((i * 7919) % 9000000 as decimal(38, 10)) / 1000 as LIFETIME_VALUE,
  i % 11 <> 0 as ACTIVE
from range(1, 2001) t(i);

create table ACME.SALES.ORDERS as
select
  700000000000 + i as ORDER_ID,
  9007199254740000 + 1 + (i * 31) % 2000 as CUSTOMER_ID,
  timestamptz '2024-01-01 00:00:00+00' + interval (i * 47) minute + interval ((i * 1013) % 1000000) microsecond as ORDERED_AT,
  ['placed', 'paid', 'shipped', 'returned'][1 + (i * 11) % 4] as STATUS,
  cast(5 + (i * 37) % 400 as decimal(12, 2)) + cast(0.25 as decimal(12, 2)) * (i % 4) as AMOUNT,
  ['web', 'store', 'phone'][1 + (i * 3) % 3] as CHANNEL,
  case when i % 9 = 0 then null else 'Thanks — see you soon ☕' end as NOTE
from range(0, 20000) t(i);

create table ACME.SALES.SUBSCRIPTIONS as
select
  i as SUBSCRIPTION_ID,
  9007199254740000 + i as CUSTOMER_ID,
  date '2020-06-01' + cast((i * 29) % 1800 as integer) as STARTED_ON,
  case when i % 4 = 0 then date '2020-06-01' + cast((i * 29) % 1800 + 200 as integer) end as ENDED_ON,
  cast([0, 29, 99, 499][1 + (i * 3) % 4] as decimal(10, 2)) as MONTHLY_PRICE
from range(1, 2001) t(i);

create table ACME.PRODUCT.PRODUCTS as
select
  'SKU-' || lpad(cast(i as varchar), 4, '0') as SKU,
  ['Espresso', 'Filter', 'Decaf', 'Cold Brew', 'Grinder', 'Kettle', 'Cup'][1 + i % 7] || ' No. ' || i as NAME,
  cast(6 + (i * 17) % 90 as decimal(10, 2)) + cast(0.49 as decimal(10, 2)) as PRICE,
  (i * 13) % 500 as IN_STOCK,
  json_object('origin', ['Ethiopia', 'Peru', 'Java'][1 + i % 3], 'roast', i % 5, 'organic', i % 2 = 0) as ATTRIBUTES
from range(1, 151) t(i);

create table ACME.PRODUCT.EVENTS as
select
  i as EVENT_ID,
  9007199254740000 + 1 + (i * 17) % 2000 as CUSTOMER_ID,
  ['page_view', 'search', 'add_to_cart', 'checkout'][1 + (i * 7) % 4] as EVENT_NAME,
  timestamp '2026-01-01 00:00:00' + interval (i * 3) minute as HAPPENED_AT,
  (i * 101) % 1000 / 1000.0 as SCORE
from range(0, 30000) t(i);

create table ACME.SUPPORT.TICKETS as
select
  i as TICKET_ID,
  9007199254740000 + 1 + (i * 41) % 2000 as CUSTOMER_ID,
  ['billing', 'delivery', 'quality', 'other'][1 + (i * 3) % 4] as TOPIC,
  ['open', 'waiting', 'solved'][1 + i % 3] as STATE,
  timestamptz '2025-03-01 08:00:00+00' + interval (i * 95) minute as OPENED_AT,
  case when i % 3 = 2 then timestamptz '2025-03-01 08:00:00+00' + interval (i * 95 + 300) minute end as SOLVED_AT
from range(0, 3000) t(i);

create table ACME.SUPPORT.PRIVATE_NOTES as
select i as TICKET_ID, 'for support staff only' as NOTE from range(0, 3000) t(i);
