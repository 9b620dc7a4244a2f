select ORDER_ID "Order Id", VALUE_3 "Tag" from (select Q1.ORDER_ID ORDER_ID, F.VALUE:name::text VALUE_3 from SHOP.SALES.ORDERS Q1, lateral flatten(input => Q1.TAGS, outer => true) F, table(generator(rowcount => 3)) limit 1000) Q2 limit 1000

-- Sigma Σ {"request-id":"5f0c1d6e-1f2a-4b7c-9d11-000000000001","email":"ana.lima@example.com"}